"""Keras's backend: what it gets, and how it is set up."""

import json
from pathlib import Path

import numpy as np
import pytest

import inprocess
from convline.data.arrays import Labelled

NUMBERED = Labelled(
    np.arange(11, dtype=np.uint8).repeat(4).reshape(11, 2, 2, 1),
    np.eye(2, dtype=np.uint8)[np.arange(11) % 2],
)


def test_keras_gets_the_same_batches_without_a_thread_that_tunes() -> None:
    inprocess.configure()
    from convline import backend
    from convline.data.batches import Batches

    batches = Batches(NUMBERED, 4)
    dataset = backend.feed(batches)
    assert not dataset.options().autotune.enabled
    assert len(dataset) == len(batches)
    for got, expected in zip(dataset.as_numpy_iterator(), batches, strict=True):
        for part, same in zip(got, expected, strict=True):
            assert part.dtype == same.dtype
            np.testing.assert_array_equal(part, same)


def test_a_keras_json_in_the_home_folder_changes_nothing(tmp_path: Path) -> None:
    settings = {"floatx": "float64", "image_data_format": "channels_first", "backend": "jax"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = """
import inprocess
inprocess.configure()
import keras
print(keras.config.floatx(), keras.config.image_data_format(), keras.config.backend())
"""
    output = inprocess.run(code, KERAS_HOME=str(tmp_path))
    assert output == "float32 channels_last tensorflow\n"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_tensorflow_is_imported_for_itself_only(backend: str) -> None:
    """It takes as long as all else that a stage on JAX imports. Later, it can be imported."""
    code = f"""
import sys
from convline import backend
params = backend.BackendParams(backend="{backend}", threads=1)
backend.choose(params)
backend.configure(params, seed=3)
import keras
imported = "tensorflow" in sys.modules
import tensorflow
print(imported, keras.backend.backend())
"""
    assert inprocess.run(code) == f"{backend == 'tensorflow'} {backend}\n"
