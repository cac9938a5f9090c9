"""Weights in 16 bits: half the file, the same arithmetic, since ONNX Runtime widens them once, when it loads it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEW = 1000  # elements: what smaller tensors would save is less than the node that widens them costs


def halve(path: Path) -> None:
    """Every large float32 initializer becomes float16 with a Cast behind it. Raises ValueError where one overflows.

    IEEE 754 half keeps 11 significant bits, int8 with a scale a channel at most 8; activations stay float32.
    """
    program = onnx.load(path)
    graph = program.graph
    large = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= FEW]
    casts = []
    for tensor in large:
        with np.errstate(over="ignore"):  # said better below
            half = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{tensor.name} holds values beyond 65,504, the largest of float16")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(program, path)
