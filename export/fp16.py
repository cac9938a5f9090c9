"""Store weights in 16 bits to halve the file. ONNX Runtime widens them once at load, so the arithmetic is unchanged."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MIN_ELEMENTS = 1000  # converting a smaller tensor saves less than the Cast node that widens it costs


def convert_to_fp16(path: Path) -> None:
    """Replace every large float32 initializer with a float16 one and a Cast. Raise `ValueError` if a weight overflows.

    IEEE 754 half precision keeps 11 significant bits; int8 with one scale per channel keeps at most 8. Activations stay
    float32.
    """
    program = onnx.load(path)
    graph = program.graph
    large = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= MIN_ELEMENTS]
    casts = []
    for tensor in large:
        with np.errstate(over="ignore"):  # the error below names the tensor
            weights = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(weights).all():
            raise ValueError(f"{tensor.name} holds values beyond 65,504, the largest value of float16")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(weights, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(program, path)
