"""Add the class activation map to a model file: which parts of a photo count toward the predicted class.

The map weights the features before global pooling with the last layer's weights of the predicted class (Zhou et al.
2016, "Learning Deep Features for Discriminative Localization"). It needs no gradient and no second run, because the
mean of the map plus the bias of the class is the logit. In an int8 file, this equality is approximate: the file rounds
the averaged features and the bias before the last layer. Adding the map changes no weight, and no bit of any other
output.

ONNX Runtime also computes outputs that a run does not request. Therefore, an `If` node computes the map only if the
input `explain` is true. The default of this input is false, and the map is then empty.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from export.graph import read_attributes, read_tensors
from lambda_app.classifier import ACTIVATION_MAP, EXPLAIN

SHAPE = ("N", "h", "w")
# Operators between pooling and the last layer that change only the shape or the precision of the values.
TRANSPARENT_OPERATORS = ("DequantizeLinear", "Flatten", "QuantizeLinear", "Reshape")


@dataclass(frozen=True)
class Tail:
    """The end of a network: features (N, D, h, w), averaged over h and w, then a linear layer with weights (C, D)."""

    features: str
    linear: onnx.NodeProto  # Gemm or QGemm


def add_activation_map(path: Path) -> bool:
    """Add the input `explain` and the output `activation_map` (N, h, w), unless the file has them.

    Return False and leave the file unchanged if the network does not end in global average pooling and a linear layer,
    because its logits are then not a sum over positions.
    """
    program = onnx.load(path)
    graph = program.graph
    if ACTIVATION_MAP in {output.name for output in graph.output}:
        return True
    tail = find_tail(graph)
    if tail is None:
        return False
    graph.node.append(build_branch(tail))
    graph.input.append(helper.make_tensor_value_info(EXPLAIN, TensorProto.BOOL, []))
    graph.initializer.append(helper.make_tensor(EXPLAIN, TensorProto.BOOL, [], [False]))
    graph.output.append(_declare(ACTIVATION_MAP, SHAPE))
    onnx.checker.check_model(program, full_check=True)
    onnx.save(program, path)
    return True


def find_tail(graph: onnx.GraphProto) -> Tail | None:
    """Return the tail that produces `logits`, or None if the network ends in another way."""
    producers = {name: node for node in graph.node for name in node.output}
    linear = _find_producer("logits", producers)
    if linear is None or linear.op_type not in {"Gemm", "QGemm"} or not _has_plain_weights(linear):
        return None
    pooling = _find_producer(linear.input[0], producers)
    if pooling is None or not _is_global_pooling(pooling, graph):
        return None
    return Tail(pooling.input[0], linear)


def _find_producer(name: str, producers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the node that computes the values of a tensor, or None. Skip `TRANSPARENT_OPERATORS`."""
    node = producers.get(name)
    while node is not None and node.op_type in TRANSPARENT_OPERATORS:
        node = producers.get(node.input[0])
    return node


def _has_plain_weights(linear: onnx.NodeProto) -> bool:
    """Return whether the weights are stored as (C, D), like those of PyTorch's `Linear`, and not scaled."""
    attributes = read_attributes(linear)
    return attributes.get("transB") == 1 and not attributes.get("transA") and attributes.get("alpha", 1.0) == 1.0


def _is_global_pooling(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """Return whether the node averages (N, D, h, w) over h and w."""
    if node.op_type != "ReduceMean":
        return bool(node.op_type == "GlobalAveragePool")
    axes = [tensor for name, tensor in read_tensors(graph).items() if name in node.input[1:]]
    return bool(axes) and sorted(axes[0] % 4) == [2, 3]


def build_branch(tail: Tail) -> onnx.NodeProto:
    """Return the node that computes the map if `explain` is true, and an empty map (0, 0, 0) otherwise."""
    full = helper.make_graph(build_map(tail), "explained", [], [_declare("weighted_features", SHAPE)])
    empty = helper.make_tensor("nothing", TensorProto.FLOAT, [0, 0, 0], [])
    constant = helper.make_node("Constant", [], ["no_map"], "no_map", value=empty)
    placeholder = helper.make_graph([constant], "unexplained", [], [_declare("no_map", [0, 0, 0])])
    return helper.make_node(
        "If", [EXPLAIN], [ACTIVATION_MAP], ACTIVATION_MAP, then_branch=full, else_branch=placeholder
    )


def build_map(tail: Tail) -> list[onnx.NodeProto]:
    """Return the nodes that weight the features with the weights of each photo's predicted class."""
    nodes = []
    weights = tail.linear.input[1]
    if tail.linear.op_type == "QGemm":  # inputs: A, its scale and zero point, B, its scale and zero point
        nodes.append(_make_node("DequantizeLinear", tail.linear.input[3:6], "float_weights", axis=0))
        weights = "float_weights"
    return [
        *nodes,
        _make_node("ArgMax", ["probabilities"], "predicted", axis=1, keepdims=0),  # (N,)
        _make_node("Gather", [weights, "predicted"], "class_weights", axis=0),  # (N, D)
        _make_node("Einsum", ["class_weights", tail.features], "weighted_features", equation="nd,ndhw->nhw"),
    ]


def _make_node(operator: str, inputs: Sequence[str], output: str, **attributes: int | str) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], output, **attributes)


def _declare(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
