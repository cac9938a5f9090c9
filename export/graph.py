"""Read ONNX graphs: tensors, attributes, layers with weights, and activations on photos."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Arrays = dict[str, NDArray[np.float32]]
WEIGHTED_OPERATORS = ("Conv", "Gemm")


def read_tensors(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """Return the constant tensors of a graph (its initializers) by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def read_attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes that the file has for a node, by name. Those with default values may be missing."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def find_layers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the convolutions and fully connected layers of a float graph, in order of execution."""
    return [node for node in graph.node if node.op_type in WEIGHTED_OPERATORS]


def open_session(program: onnx.ModelProto) -> ort.InferenceSession:
    """Return a session that runs a model on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(program.SerializeToString(), options, providers=["CPUExecutionProvider"])


def read_activations(
    program: onnx.ModelProto, names: list[str], photos: Iterable[NDArray[np.uint8]]
) -> Iterator[Arrays]:
    """Yield, for each photo (1, 3, S, S), the values of the named tensors of a float graph, (1, C, …) each."""
    probe = onnx.ModelProto()
    probe.CopyFrom(program)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(probe)
    for photo in photos:
        yield dict(zip(names, session.run(names, {"images": photo}), strict=True))
