"""Networks found by name: their files, their sections, and what `build` may return."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

import inprocess
from conftest import REPOSITORY, Project, ran
from convline import network
from convline.params import Schema
from convline.problems import Problem
from networks import convnet

OWN = REPOSITORY / "tests/own_networks"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnett", "did you mean resnet?"),
        ("vit", "there are convnet, resnet"),
        ("__init__", "there are convnet, resnet"),
        ("../fetch", "there are convnet, resnet"),
        ("convnet.Params", "did you mean convnet?"),
        ("", "there are convnet, resnet"),
    ],
)
def test_a_network_without_a_file(monkeypatch: pytest.MonkeyPatch, name: str, hint: str) -> None:
    monkeypatch.setattr("convline.pipeline.networks", lambda: ["convnet", "resnet"])
    with pytest.raises(Problem) as caught:
        network.load(name)
    assert str(caught.value) == (
        f"params.yaml: network is {name!r}, but src/networks/{name}.py is missing; {hint}"
    )


def test_a_misspelt_network_ends_in_one_line(clone: Project) -> None:
    clone.set_params(network="convnett")
    assert clone.problem("train").endswith("is missing; did you mean convnet?")


@pytest.mark.parametrize(("left_out", "kept"), [("Params", "build"), ("build", "Params")])
def test_a_file_that_is_not_a_network(clone: Project, left_out: str, kept: str) -> None:
    (clone.path / "src/networks/mine.py").write_text(f"{kept} = None\n")
    clone.set_params(network="mine", mine={})
    assert clone.problem("train") == (
        f"train: src/networks/mine.py defines no {left_out}; CONTRIBUTING.md shows a network"
    )


def test_the_section_of_another_network_may_be_wrong(clone: Project) -> None:
    clone.set_params(resnet={"depth": -1})
    assert "data/processed/train_images.npy is missing" in clone.problem("train")
    clone.set_params(network="resnet")
    assert "params.yaml: resnet: depth is -1; it should be " in clone.problem("train")


def built(build: Callable[..., Any]) -> Any:
    """The model of a network whose file has this `build`."""

    class Module:
        """Stands for the file."""

    module: Any = Module()
    module.build = build
    return network.Network("mine", module, Schema()).build((4, 4, 1), 3)


def dense(units: int) -> Any:
    """A model with so many outputs."""
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(units)])


def image() -> Any:
    """A model that returns images."""
    import keras

    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Rescaling(1 / 255)])


def two() -> Any:
    """A model with two outputs."""
    import keras

    inputs = keras.Input((4, 4, 1))
    features = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(3)(features) for _ in range(2)])


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: dense(4), "(None, 4)"),
        (image, "(None, 4, 4, 1)"),
        (two, "[(None, 3), (None, 3)]"),
    ],
)
def test_outputs_of_a_wrong_shape_are_a_problem(make: Callable[[], Any], shape: str) -> None:
    inprocess.configure()
    with pytest.raises(Problem) as caught:
        built(lambda *_: make())
    assert str(caught.value) == (
        f"src/networks/mine.py: build returns a model whose outputs are {shape}; (None, 3), a "
        "probability for each class, is expected"
    )


def test_an_error_of_a_build_stays_what_it_is() -> None:
    """It is not taken for images that are too small."""
    inprocess.configure()

    def build(*_: object) -> Any:
        raise ValueError("a bug of the user's")

    with pytest.raises(ValueError, match="a bug of the user's"):
        built(build)


def test_a_subclassed_model_is_built() -> None:
    """So that a checkpoint can restore its weights before the first step."""
    inprocess.configure()
    import keras

    class Mine(keras.Model):
        """A model that knows no shape until it is called."""

        def __init__(self) -> None:
            super().__init__()
            self.flat = keras.layers.Flatten()
            self.probabilities = keras.layers.Dense(3, activation="softmax")

        def call(self, images: Any) -> Any:
            """The probabilities."""
            return self.probabilities(self.flat(images))

    assert [weight.shape for weight in built(lambda *_: Mine()).weights] == [(16, 3), (3,)]


def test_the_border_is_what_the_network_crops() -> None:
    cropped = convnet.Params.model_validate(inprocess.DEFAULTS["convnet"] | {"crop": 2})
    assert network.Network("convnet", convnet, cropped).border == 2
    assert network.Network("mine", convnet, Schema()).border == 0


@pytest.mark.parametrize("name", ["custom_layer", "subclassed"])
def test_a_network_of_ones_own_goes_through_the_pipeline(project: Project, name: str) -> None:
    shutil.copy(OWN / f"{name}.py", project.path / "src/networks")
    project.set_params(network=name, epochs=1, **{name: {"units": 8}})
    again = ran(project.dvc("repro"))
    assert {"train", "evaluate", "export"} <= set(again)
    assert "preprocess" not in again
    figures = json.loads((project.path / "metrics/evaluate.json").read_text())
    assert figures["images"] == 90
    of_train, of_evaluate = (record["deps"] for record in figures["made_from"])
    for deps in (of_train, of_evaluate):
        assert f"src/networks/{name}.py" in deps
        assert "src/networks/convnet.py" not in deps
    # Only the section of the network in use counts
    project.set_params(convnet={"dropout": 0.1})
    assert "train" not in ran(project.dvc("repro"))
