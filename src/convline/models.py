"""Models on disk: .keras files whose bytes depend on the model alone."""

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from convline import memory
from convline.files import temporary_folder, written
from convline.params import validate
from convline.problems import Problem
from convline.provenance import Record
from convline.text import shortened

# Weights hardly compress. Without these limits, a file of 3 MB can claim any number of GB
MOST = 64 * 2**20  # bytes that any file may claim
EXPANSION = 20  # times its size that a file may claim beyond that

WEIGHTS = "model.weights.h5"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip entry can have


def save(model: keras.Model, path: Path, made_from: Record) -> None:
    """Write `model` to `path`, without the optimizer, and into its metadata what it was made from.

    It may be of any kind: sequential, functional or subclassed. The same model and record give the
    same bytes.
    """
    without_optimizer = type(model).from_config(model.get_config())
    if not without_optimizer.built:
        without_optimizer.build_from_config(model.get_build_config())
        without_optimizer.built = True  # of a subclassed model it is not set
    without_optimizer.set_weights(model.get_weights())
    with temporary_folder() as folder:
        saved = folder / "model.keras"
        without_optimizer.save(saved)
        content = canonical(saved.read_bytes(), made_from)
    with written(path) as file:
        file.write(content)


def averaging_mirrored(model: keras.Model, input_shape: tuple[int, int, int]) -> keras.Model:
    """A model with the mean of what `model` returns for an image and for its mirror image.

    It shares the weights of `model`, which takes images (n, *input_shape).
    """
    image = keras.Input(input_shape, name="image")
    both = [model(image), model(keras.ops.flip(image, axis=2))]
    return keras.Model(image, keras.layers.Average(name="probabilities")(both), name=model.name)


def canonical(archive: bytes, made_from: Record) -> bytes:
    """A .keras archive with a record, and without what differs each time that a model is saved.

    These are the date in metadata.json, the times of the zip entries, and `shared_object_id` in
    config.json: a memory address, replaced by numbers in order of appearance.
    """
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                metadata = json.loads(content)
                metadata["date_saved"] = "1980-01-01@00:00:00"
                metadata["made_from"] = made_from.model_dump()
                content = json.dumps(metadata).encode()
            elif name == "config.json":
                content = json.dumps(_renumbered(json.loads(content), {})).encode()
            target.writestr(zipfile.ZipInfo(name, EPOCH), content)
    return result.getvalue()


def _renumbered(config: Any, numbers: dict[int, int]) -> Any:
    if isinstance(config, list):
        return [_renumbered(item, numbers) for item in config]
    if isinstance(config, dict):
        return {
            key: numbers.setdefault(value, len(numbers))
            if key == "shared_object_id"
            else _renumbered(value, numbers)
            for key, value in config.items()
        }
    return config


def _uncompiled(config: Any) -> Any:
    """`config` without what a model within it was trained by.

    An optimizer has weights as soon as it is made, which JAX refuses where none should be.
    """
    if isinstance(config, list):
        return [_uncompiled(item) for item in config]
    if isinstance(config, dict):
        return {key: _uncompiled(value) for key, value in config.items() if key != "compile_config"}
    return config


def _check_size(path: Path) -> None:
    """Raise `ValueError` where Keras would allocate far more than the size of the file.

    The sizes that the zip's directory declares, the shapes of the datasets, and the weights that
    the layers need are each summed up and compared with it. Keras itself allows 4 GiB for each
    entry and dataset, and any weights.
    """
    most = MOST + EXPANSION * path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS not in archive.namelist():  # Keras also reads an .npz, a zip within the zip
            raise ValueError(f"it holds no {WEIGHTS}")
        if sum(entry.file_size for entry in archive.infolist()) > most:
            raise ValueError("it unpacks to far more than its size")
        with h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:
            sizes: list[int] = []

            def note(_name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset):
                    shapes = (item.shape or (), item.chunks or ())
                    sizes.extend(item.dtype.itemsize * math.prod(shape) for shape in shapes)

            file.visititems(note)
        config = _uncompiled(json.loads(archive.read("config.json")))
    if sum(sizes) > most:
        raise ValueError("its weights declare far more than its size")
    try:
        with keras.StatelessScope(initialize_variables=False):  # which makes no weights
            described = keras.saving.deserialize_keras_object(config)
        variables = getattr(described, "variables", [])
        if 4 * sum(math.prod(variable.shape) for variable in variables) > most:
            raise ValueError("its layers need far more weights than it holds")
    except Exception:
        keras.utils.clear_session(free_memory=False)  # it would create those weights later
        raise


def load(path: Path) -> keras.Model:
    """The model at `path`. Raises `Problem` where it is missing or not a Keras model."""
    if not path.exists():
        raise Problem(f"{path} is missing; `dvc repro train` creates it")
    try:
        if not zipfile.is_zipfile(path):  # Keras would say that there is no such file
            raise zipfile.BadZipFile("its zip archive is damaged")
        _check_size(path)
        model = keras.saving.load_model(path, compile=False)
        if not isinstance(model, keras.Model):
            raise TypeError(f"it holds a {type(model).__name__}")
        return model
    except Exception as error:  # a damaged zip, JSON or HDF5 file can raise anything
        if memory.exhausted(error):
            raise
        reason = str(error).rpartition("Exception encountered: ")[2]  # after pages of Keras's own
        raise Problem(
            f"{path} is not a Keras model: {shortened(reason, 150)}; `dvc repro train` creates it"
        ) from error


def output_shape(model: keras.Model, input_shape: tuple[int, int, int]) -> Any:
    """The shape of what `model` returns for images (n, *input_shape); builds a model that is not.

    Raises `ValueError` where it takes images of another shape.
    """
    declared = getattr(model, "input_shape", (None, *input_shape))  # subclassed models have none
    if any(size not in (None, wanted) for size, wanted in zip(declared[1:], input_shape)):
        raise ValueError(f"the model takes images of {declared[1:]}")
    # Called, because subclassed models implement no compute_output_shape
    outputs = model(keras.KerasTensor((None, *input_shape)))
    return keras.tree.map_structure(lambda output: output.shape, outputs)


def made_from(path: Path) -> Record | None:
    """The record in the model at `path`; None if something else saved the model."""
    with zipfile.ZipFile(path) as archive:
        try:
            content = json.loads(archive.read("metadata.json"))["made_from"]
        except (KeyError, TypeError, ValueError):
            return None
    return validate(Record, content, f"{path}: made_from")
