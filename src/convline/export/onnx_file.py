"""ONNX: a Keras model as the content of a .onnx file."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization

from convline.export.canonical import IMAGE, canonical
from convline.exported import KEY, About, Classifier, Floats
from convline.paths import ONNX


def convert(model: keras.Model, about: About, calibration: Iterable[Floats], folder: Path) -> bytes:
    """`model` in ONNX, quantized as `about` says, which its metadata holds.

    It takes images (n, height, width, channels), float32 from 0 to 255. For int8, the batches of
    `calibration` show how large activations become. Other programs write into `folder`. Raises
    whatever they do where they cannot convert a layer.
    """
    path = folder / "model.onnx"
    # Traced as it is, a model with layers for augmentation would go on to augment
    image = keras.Input(about.shape, name=IMAGE)
    inference = keras.Model(image, model(image, training=False))
    inference.export(path, format="onnx", verbose=False, input_signature=[image])
    converted = canonical(standard(onnx.load(path)))
    onnx.checker.check_model(converted)  # names an operator that ONNX does not know
    if about.quantization == "float16":
        converted = float16(converted)
    elif about.quantization == "int8":
        converted = int8(converted, calibration, folder)
    helper.set_model_props(converted, {KEY: about.model_dump_json()})
    return bytes(converted.SerializeToString(deterministic=True))


def standard(model: ModelProto) -> ModelProto:
    """`model` with 1 - Erf instead of Erfc, which is in GELU, and which tf2onnx leaves as it is."""
    graph = model.graph
    for node in list(graph.node):
        if node.op_type == "Erfc":
            (result,) = node.output
            node.op_type, node.output[0] = "Erf", f"{result}/erf"
            graph.node.add(op_type="Sub", input=[f"{result}/one", *node.output], output=[result])
            graph.initializer.append(
                numpy_helper.from_array(np.array(1, np.float32), f"{result}/one")
            )
    return model


def float16(model: ModelProto) -> ModelProto:
    """A copy of `model` that holds kernels and matrices in float16, and computes in float32.

    They are cast once, when the file is opened: few processors compute faster in float16. Vectors,
    such as biases, stay as they are.
    """
    result = ModelProto()
    result.CopyFrom(model)
    for tensor in result.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            name, values = tensor.name, numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}/float16"))
            result.graph.node.add(
                op_type="Cast",
                input=[tensor.name],
                output=[name],
                attribute=[helper.make_attribute("to", TensorProto.FLOAT)],
            )
    return canonical(result)


def int8(model: ModelProto, calibration: Iterable[Floats], folder: Path) -> ModelProto:
    """A copy of `model` with weights and activations in int8, but for its probabilities.

    The batches of `calibration` show how large activations become.
    """
    path, prepared, quantized = (folder / f"{n}.onnx" for n in ("model", "prepared", "quantized"))
    onnx.save(model, path)
    quantization.quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        quantized,
        _Calibration(calibration),
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        # Weights of 7 bits: processors without VNNI add two products in 16, where 8 overflow
        reduce_range=True,
        # Probabilities in steps of 1/256 would often be equal
        nodes_to_exclude=_from_softmax(model),
    )
    return canonical(onnx.load(quantized))


def _from_softmax(model: ModelProto) -> list[str]:
    """The names of the nodes that compute or use probabilities."""
    names, probabilities = [], set[str]()
    for node in model.graph.node:  # each after those that it uses
        if node.op_type == "Softmax" or not probabilities.isdisjoint(node.input):
            names.append(node.name)
            probabilities.update(node.output)
    return names


def classifier(content: bytes, threads: int) -> Classifier:
    """The exported model `content`, ready to answer."""
    return Classifier(content, ONNX, threads)


class _Calibration(quantization.CalibrationDataReader):
    """Hands batches of images to onnxruntime."""

    def __init__(self, batches: Iterable[Floats]) -> None:
        self.batches: Iterator[Floats] = iter(batches)

    def get_next(self) -> dict[str, Floats] | None:
        """The next batch, or None after the last."""
        batch = next(self.batches, None)
        return None if batch is None else {IMAGE: batch}
