"""Canonical ONNX models: one graph, one content, whatever its nodes are called."""

import random
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from convline.export.canonical import canonical


def branched(seed: int) -> ModelProto:
    """A model with two branches that share a weight, a choice and a node that leads nowhere.

    It is the same for each seed, except for names, the order of nodes and remarks.
    """
    order = random.Random(seed)  # noqa: S311  # not for cryptography
    names: dict[str, str] = {}

    def name(of: str) -> str:
        return names.setdefault(of, f"{of}__{order.randrange(1000)}")

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        made = helper.make_node(
            kind,
            [name(one) for one in inputs.split(", ")],
            [name(output)],
            name(f"the {output}"),
            f"remark {order.random()}",
            **attributes,
        )
        kept = list(made.attribute)
        order.shuffle(kept)
        del made.attribute[:]
        made.attribute.extend(kept)
        return made

    def choice(kind: str, result: str) -> onnx.GraphProto:
        nodes = [
            node("Mul", "left, scale", f"{result} scaled"),
            node(kind, "left", f"{result} in"),
            node("Add", f"{result} scaled, {result} in", result),
        ]
        ends = [helper.make_tensor_value_info(name(result), TensorProto.FLOAT, None)]
        return helper.make_graph(nodes, name(f"graph of {result}"), [], ends)

    nodes = [
        node("Flatten", "image", "flat"),
        node("Relu", "flat", "unused"),
        node("MatMul", "flat, weight", "left"),
        node("MatMul", "flat, weight", "again"),
        node("ReduceSum", "left", "sum", keepdims=0),
        node("Greater", "sum, zero", "positive"),
        node(
            "If",
            "positive",
            "chosen",
            then_branch=choice("Relu", "larger"),
            else_branch=choice("Neg", "smaller"),
        ),
        node("Add", "chosen, again", "added"),
        node("Softmax", "added", "result", axis=1),
    ]
    shuffled = nodes[:]
    order.shuffle(shuffled)
    values: dict[str, np.ndarray] = {
        "weight": np.arange(8, dtype=np.float32).reshape(4, 2) / 8,
        "zero": np.zeros((), np.float32),
        "scale": np.array([2, -3], np.float32),
        "nothing": np.ones(3, np.float32),
    }
    graph = helper.make_graph(
        shuffled,
        name("graph"),
        [helper.make_tensor_value_info(name("image"), TensorProto.FLOAT, [name("n"), 2, 2])],
        [helper.make_tensor_value_info(name("result"), TensorProto.FLOAT, [name("n"), 2])],
        [numpy_helper.from_array(value, name(key)) for key, value in values.items()],
        f"remark {order.random()}",
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 2)]
    order.shuffle(opsets)
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def test_names_order_and_remarks_change_nothing() -> None:
    contents = {canonical(branched(seed)).SerializeToString() for seed in range(20)}
    assert len({branched(seed).SerializeToString() for seed in range(20)}) == 20
    assert len(contents) == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_it_computes_the_same(sign: int) -> None:
    """Both ways through the choice, with any number of images."""
    model = canonical(branched(0))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    images = sign * np.random.default_rng(0).random((5, 2, 2), np.float32)
    (found,) = session.run(["probabilities"], {"image": images})

    flat = images.reshape(5, 4)
    left = flat @ (np.arange(8).reshape(4, 2) / 8)
    chosen = left * [2, -3] + (np.maximum(left, 0) if sign > 0 else -left)
    powers = np.exp(chosen + left)
    assert found == pytest.approx(powers / powers.sum(axis=1, keepdims=True), rel=1e-5)


def test_what_the_output_does_not_need_is_left_out() -> None:
    graph = canonical(branched(0)).graph
    assert [node.name for node in graph.node] == [
        "Flatten_0",
        "MatMul_1",
        "ReduceSum_2",
        "Greater_3",
        "If_4",
        "MatMul_5",
        "Add_6",
        "Softmax_7",
    ]
    assert [tensor.name for tensor in graph.initializer] == ["MatMul_1/1", "Greater_3/1", "If_4/2"]


def test_the_batch_is_free_and_the_other_sizes_stay() -> None:
    graph = canonical(branched(0)).graph
    shapes = [
        (value.name, [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim])
        for value in (*graph.input, *graph.output)
    ]
    assert shapes == [("image", ["n", 2, 2]), ("probabilities", ["n", 2])]
