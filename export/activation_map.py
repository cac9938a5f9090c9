"""Add the class activation map to a model file: which parts of a photo count toward the predicted class.

The map weights the features before global pooling with the last layer's weights of the predicted class (Zhou et al.
2016, "Learning Deep Features for Discriminative Localization"). Its mean plus the bias of the class is the logit, so no
gradient and no second run is needed. Weights and all other outputs stay the same to the bit.

ONNX Runtime also computes outputs that a run does not request. Therefore, the map is in a branch that runs only if
the input `explain` is true; without this input, it is false and the map is empty. `python -m export.upgrade` adds the
map to a file that was released without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from lambda_app.classifier import ACTIVATION_MAP, EXPLAIN

SHAPE = ("N", "h", "w")
PASSED = ("DequantizeLinear", "Flatten", "QuantizeLinear", "Reshape")  # between pooling and the last layer


@dataclass(frozen=True)
class Tail:
    """The end of a network: features (N, D, h, w), averaged over h and w, then a linear layer with weights (C, D)."""

    features: str
    linear: onnx.NodeProto  # Gemm or QGemm


def add_activation_map(path: Path) -> bool:
    """Add the input `explain` and the output `activation_map` (N, h, w), unless the file has them.

    Return False and change nothing if the network does not end in global average pooling and a linear layer, because
    then its logits are no sum over positions.
    """
    program = onnx.load(path)
    graph = program.graph
    if ACTIVATION_MAP in {output.name for output in graph.output}:
        return True
    tail = find_tail(graph)
    if tail is None:
        return False
    explained = helper.make_graph(build_map(tail), "explained", [], [_declare("weighted_features", SHAPE)])
    nothing = helper.make_tensor("nothing", TensorProto.FLOAT, [0, 0, 0], [])
    constant = helper.make_node("Constant", [], ["no_map"], "no_map", value=nothing)
    unexplained = helper.make_graph([constant], "unexplained", [], [_declare("no_map", [0, 0, 0])])
    branch = helper.make_node(
        "If", [EXPLAIN], [ACTIVATION_MAP], ACTIVATION_MAP, then_branch=explained, else_branch=unexplained
    )
    graph.node.append(branch)
    graph.input.append(helper.make_tensor_value_info(EXPLAIN, TensorProto.BOOL, []))
    graph.initializer.append(helper.make_tensor(EXPLAIN, TensorProto.BOOL, [], [False]))
    graph.output.append(_declare(ACTIVATION_MAP, SHAPE))
    onnx.checker.check_model(program, full_check=True)
    onnx.save(program, path)
    return True


def find_tail(graph: onnx.GraphProto) -> Tail | None:
    """Return the tail that produces `logits`, or None if the network ends in another way."""
    makers = {name: node for node in graph.node for name in node.output}
    linear = _find_maker("logits", makers)
    if linear is None or linear.op_type not in {"Gemm", "QGemm"} or not _has_plain_weights(linear):
        return None
    pooling = _find_maker(linear.input[0], makers)
    if pooling is None or not _is_global(pooling, graph):
        return None
    return Tail(pooling.input[0], linear)


def _find_maker(name: str, makers: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Return the node that computes the values of a tensor, whatever their shape and precision."""
    node = makers.get(name)
    while node is not None and node.op_type in PASSED:
        node = makers.get(node.input[0])
    return node


def _has_plain_weights(linear: onnx.NodeProto) -> bool:
    """Return whether the weights are stored as (C, D), as PyTorch's `Linear` stores them, and not scaled."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in linear.attribute}
    return attributes.get("transB") == 1 and not attributes.get("transA") and attributes.get("alpha", 1.0) == 1.0


def _is_global(pooling: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """Return whether the node averages (N, D, h, w) over h and w."""
    if pooling.op_type != "ReduceMean":
        return bool(pooling.op_type == "GlobalAveragePool")
    axes = [numpy_helper.to_array(each) for each in graph.initializer if each.name in pooling.input[1:]]
    return bool(axes) and sorted(axes[0] % 4) == [2, 3]


def build_map(tail: Tail) -> list[onnx.NodeProto]:
    """Return the nodes that weight the features with the weights of each photo's predicted class."""
    nodes = []
    weights = tail.linear.input[1]
    if tail.linear.op_type == "QGemm":  # inputs: A, its scale and zero point, B, its scale and zero point
        nodes.append(_node("DequantizeLinear", tail.linear.input[3:6], "float_weights", axis=0))
        weights = "float_weights"
    return [
        *nodes,
        _node("ArgMax", ["probabilities"], "predicted", axis=1, keepdims=0),  # (N,)
        _node("Gather", [weights, "predicted"], "class_weights", axis=0),  # (N, D)
        _node("Einsum", ["class_weights", tail.features], "weighted_features", equation="nd,ndhw->nhw"),
    ]


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: int | str) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], output, **attributes)


def _declare(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
