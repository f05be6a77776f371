"""Exported models: what they say of themselves, and their answers, without Keras.

An ONNX file from the stage export holds all that an answer takes: the network, its classes, and how
a picture is fitted to it.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import ImageColor
from pydantic import ConfigDict, Field, field_validator

from convline.params import Int, Schema, validate
from convline.paths import ONNX
from convline.problems import Problem
from convline.text import one_line, shortened

KEY = "convline"  # of the JSON in an ONNX file's metadata
# How other files of models begin, or what follows their first four bytes
OTHERS = {b"PK\x03\x04": "Keras", b"\x89HDF": "Keras", b"TFL3": "LiteRT"}

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Side = Annotated[Int, Field(ge=1, le=4096)]  # pixels


class About(Schema):
    """What the metadata of an exported model says.

    `shape` is (height, width, channels) of its images; `fit`, `background` and `ink` are those of
    the dataset in datasets.yaml; `model_md5` is the md5 of models/model.keras, which dvc.lock has.
    """

    model_config = ConfigDict(extra="ignore")

    dataset: str
    classes: Annotated[list[str], Field(min_length=1)]
    shape: tuple[Side, Side, Literal[1, 3]]
    fit: Literal["pad", "crop", "stretch"]
    background: str
    ink: float
    quantization: Literal["none", "float16", "int8"]
    model_md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str) -> str:
        ImageColor.getrgb(value)  # raises `ValueError`
        return value


class Classifier:
    """An exported model, ready to answer. Raises `Problem` where the file is not one.

    `md5` is that of the file. It may be called from several threads.
    """

    def __init__(self, content: bytes, source: object, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads  # 0: as many as there are cores
        options.log_severity_level = 4  # errors are raised, too
        try:
            self.session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
            self.about = _about(self.session.get_modelmeta().custom_metadata_map, source)
            (image,), (probabilities,) = self.session.get_inputs(), self.session.get_outputs()
        except Problem:
            raise
        except Exception as error:  # onnxruntime raises many kinds, which share no base
            reason = shortened(one_line(error), 150)
            for start, kind in OTHERS.items():
                if content[4:8] == start or content.startswith(start):
                    reason = f"it is a {kind} file; `dvc repro export` makes {ONNX} beside it"
            raise Problem(f"{source} is not an exported model: {reason}") from error
        self._image, self._probabilities = image.name, probabilities.name
        self.md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self._try(source)

    def __call__(self, images: Bytes | Floats) -> Floats:
        """The probabilities (n, classes) of images (n, height, width, channels), 0 to 255."""
        feed = {self._image: np.asarray(images, np.float32)}
        (probabilities,) = self.session.run([self._probabilities], feed)
        return np.asarray(probabilities)

    def _try(self, source: object) -> None:
        """Raise `Problem` where the network does not answer as its metadata says."""
        classes, shape = len(self.about.classes), self.about.shape
        try:
            answer = self(np.zeros((2, *shape), np.float32))
        except Exception as error:
            raise Problem(
                f"{source} does not take images of the shape {shape}, which its metadata names: "
                f"{shortened(one_line(error), 150)}"
            ) from error
        if answer.shape != (2, classes) or not np.isfinite(answer).all():
            raise Problem(
                f"{source} does not return the probabilities of the {classes} classes that its "
                f"metadata names, but {shortened(answer.tolist())}"
            )


def read(path: Path, threads: int = 0) -> Classifier:
    """The exported model at `path`. Raises `Problem` where it is missing or not one."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        hint = "; `dvc repro export` creates it" if path == ONNX else ""
        raise Problem(f"{path} is missing{hint}") from error
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from error
    return Classifier(content, path, threads)


def _about(metadata: dict[str, str], source: object) -> About:
    try:
        values = json.loads(metadata[KEY])
    except (KeyError, ValueError) as error:
        raise Problem(
            f"{source} was not exported by Convline: it does not say its classes"
        ) from error
    return validate(About, values, f"{source}: its metadata")
