"""Canonical ONNX models: the bytes depend on what a model computes alone."""

from collections.abc import Iterator

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

IMAGE, PROBABILITIES = "image", "probabilities"  # the names of its input and its output
PRODUCER = "convline"


def canonical(model: ModelProto) -> ModelProto:
    """`model` without what tf2onnx writes differently each time: names, and the order of nodes.

    github.com/onnx/tensorflow-onnx/issues/2006. Here the nodes stand in the order in which the
    output needs them, and are named by it. What leads to no output is left out.
    """
    (image,), (probabilities,) = model.graph.input, model.graph.output
    graph = _renamed(model.graph, {}, "", [IMAGE], [PROBABILITIES])
    for old, new in ((image, graph.input[0]), (probabilities, graph.output[0])):
        sizes = [dim.dim_value for dim in old.type.tensor_type.shape.dim]
        new.CopyFrom(helper.make_tensor_value_info(new.name, TensorProto.FLOAT, ["n", *sizes[1:]]))
    used = set(_domains(graph))
    return helper.make_model(
        graph,
        producer_name=PRODUCER,
        ir_version=model.ir_version,
        opset_imports=sorted(
            (opset for opset in model.opset_import if opset.domain in used),
            key=lambda opset: opset.domain,
        ),
    )


def _renamed(
    graph: GraphProto, outer: dict[str, str], prefix: str, inputs: list[str], outputs: list[str]
) -> GraphProto:
    """A canonical copy of `graph`, whose inputs and outputs get the names that are given.

    `outer` has the new names of tensors of the graphs around it, `prefix` begins its own.
    """
    names = {**outer, "": ""}  # an optional input that is not given has no name
    names.update((value.name, prefix + name) for value, name in zip(graph.input, inputs))
    of_outputs = {value.name: prefix + name for value, name in zip(graph.output, outputs)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used = []
    result = GraphProto(name=PRODUCER)

    def use(tensor: str, name: str) -> None:
        if tensor in constants and tensor not in names:
            names[tensor] = name
            used.append(constants[tensor])

    for index, node in enumerate(_ordered(graph)):
        new = result.node.add(
            op_type=node.op_type, domain=node.domain, name=f"{prefix}{node.op_type}_{index}"
        )
        for i, tensor in enumerate(_needed(node)):
            use(tensor, f"{new.name}/{i}")
        new.input.extend(names[tensor] for tensor in node.input)
        for i, tensor in enumerate(node.output):
            if tensor:
                names[tensor] = of_outputs.get(tensor, f"{new.name}:{i}")
        new.output.extend(names[tensor] for tensor in node.output)
        for attribute in sorted(node.attribute, key=lambda attribute: attribute.name):
            copied = new.attribute.add()
            copied.CopyFrom(attribute)
            copied.doc_string = ""
            if attribute.type == AttributeProto.GRAPH:
                within = f"{new.name}/{attribute.name}/"
                inner = [str(i) for i in range(len(attribute.g.input))]
                outer_ends = [f"out_{i}" for i in range(len(attribute.g.output))]
                copied.g.CopyFrom(_renamed(attribute.g, names, within, inner, outer_ends))
    for value in graph.output:
        use(value.name, of_outputs[value.name])
    for values, olds in ((result.input, graph.input), (result.output, graph.output)):
        values.extend(onnx.ValueInfoProto(name=names[old.name], type=old.type) for old in olds)
    for tensor in used:
        result.initializer.add().CopyFrom(tensor)
        result.initializer[-1].name = names[tensor.name]
        result.initializer[-1].doc_string = ""
    return result


def _ordered(graph: GraphProto) -> list[NodeProto]:
    """The nodes that lead to the outputs of `graph`, each after those that it needs."""
    makers = {tensor: node for node in graph.node for tensor in node.output if tensor}
    found: dict[int, NodeProto] = {}
    waiting = [value.name for value in reversed(graph.output)]
    while waiting:
        node = makers.get(waiting[-1])
        if node is None or id(node) in found:
            waiting.pop()
            continue
        before = [t for t in _needed(node) if t in makers and id(makers[t]) not in found]
        waiting.extend(reversed(before))
        if not before:
            found[id(node)] = node
    return list(found.values())


def _needed(node: NodeProto) -> list[str]:
    """The tensors that `node` takes: its inputs, then what graphs within it take from outside."""
    return [*node.input, *(tensor for graph in _within(node) for tensor in _free(graph))]


def _within(node: NodeProto) -> list[GraphProto]:
    """The graphs in the attributes of `node`, such as the body of a loop."""
    attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
    return [attribute.g for attribute in attributes if attribute.HasField("g")]


def _free(graph: GraphProto) -> Iterator[str]:
    """The tensors that `graph` takes from the graphs around it."""
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {tensor for node in graph.node for tensor in node.output}
    taken = [tensor for node in _ordered(graph) for tensor in _needed(node)]
    return (t for t in (*taken, *(value.name for value in graph.output)) if t and t not in own)


def _domains(graph: GraphProto) -> Iterator[str]:
    """The domain of each operator in `graph`."""
    for node in graph.node:
        yield node.domain
        for inner in _within(node):
            yield from _domains(inner)
