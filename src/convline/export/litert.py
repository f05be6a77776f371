"""LiteRT: a Keras model as the content of a .tflite file, and its answers."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from convline.export.canonical import IMAGE
from convline.exported import KEY, About, Bytes, Floats
from convline.models import EPOCH

METADATA = f"{KEY}.json"


def convert(model: keras.Model, about: About, calibration: Iterable[Floats], folder: Path) -> bytes:
    """`model` in LiteRT, quantized as `about` says, which comes with it.

    It takes images (n, height, width, channels), float32 from 0 to 255. For int8, the batches of
    `calibration` show how large activations become. Keras writes into `folder`. Raises whatever
    TensorFlow does where it cannot convert a layer: a recurrent one needs `unroll=True`.

    Files that come with a LiteRT model follow it in a zip archive: `unzip -p model.tflite
    convline.json` prints `about`.
    """

    def representative() -> Iterator[list[Floats]]:
        return ([image[None]] for batch in calibration for image in batch)

    # Operators of TensorFlow, which Keras would allow, are in no LiteRT runtime as it is installed
    target: dict[str, Any] = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    options: dict[str, Any] = {"target_spec": target}
    if about.quantization != "none":
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if about.quantization == "float16":
        target["supported_types"] = [tf.float16]
    elif about.quantization == "int8":
        options["representative_dataset"] = representative
    path = folder / "model.tflite"
    # Keras knows no signature of a Sequential that was loaded
    signature = [keras.InputSpec(dtype="float32", shape=(None, *about.shape), name=IMAGE)]
    model.export(path, format="litert", verbose=False, input_signature=signature, **options)
    file = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(zipfile.ZipInfo(METADATA, EPOCH), about.model_dump_json())
    return file.getvalue()


def classifier(content: bytes, threads: int) -> Callable[[Bytes], Floats]:
    """A function from images (n, height, width, channels), 0 to 255, to probabilities."""
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=threads)
    ((name, signature),) = interpreter.get_signature_list().items()
    (image,), (probabilities,) = signature["inputs"], signature["outputs"]
    run = interpreter.get_signature_runner(name)

    def classify(images: Bytes) -> Floats:
        return np.asarray(run(**{image: images.astype(np.float32)})[probabilities])

    return classify
