"""The networks of src/networks/, found by name."""

import importlib
from dataclasses import dataclass
from difflib import get_close_matches
from types import ModuleType
from typing import TYPE_CHECKING

from convline import imports, params, pipeline
from convline.paths import PARAMS
from convline.problems import Problem

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Network:
    """A network and its parameters: the file NAME.py, and the section NAME of params.yaml."""

    name: str
    module: ModuleType
    params: params.Schema

    @property
    def border(self) -> int:
        """The pixels on each side of the image that it ignores: its parameter `crop`, if any."""
        return int(getattr(self.params, "crop", 0))

    def build(self, input_shape: tuple[int, int, int], classes: int) -> "keras.Model":
        """An untrained classifier of raw 0-255 images (n, *input_shape).

        `input_shape` is (height, width, channels). It returns the probabilities (n, classes).
        Raises `Problem` where the network's own `build` does, or returns another shape.
        """
        from convline import models  # only now: it imports Keras

        model = self.module.build(input_shape, classes, self.params)
        shape = models.output_shape(model, input_shape)
        if shape != (None, classes):
            raise Problem(
                f"{_file(self.name)}: build returns a model whose outputs are {shape}; "
                f"(None, {classes}), a probability for each class, is expected"
            )
        return model


def load(name: str) -> Network:
    """The network `name` with its section of params.yaml.

    To be called after `backend.choose`: a network's file may import Keras. Raises `Problem` where
    there is no such network, or its section has a wrong key or value.
    """
    module = imported(name)
    return Network(name, module, params.load_section(name, module.Params))


def imported(name: str) -> ModuleType:
    """The module of the network `name`, whose import registers the layers that it defines."""
    names = pipeline.networks()
    if name not in names:
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
        raise Problem(f"{PARAMS}: network is {name!r}, but {_file(name)} is missing; {hint}")
    with imports.lean(), imports.quiet():
        module = importlib.import_module(f"networks.{name}")
    for attribute in ("Params", "build"):
        if not hasattr(module, attribute):
            raise Problem(f"{_file(name)} defines no {attribute}; CONTRIBUTING.md shows a network")
    return module


def _file(name: str) -> str:
    return f"src/networks/{name}.py"
