"""Store weights in 16 bits, which halves the file.

ONNX Runtime converts them to float32 once, when it loads the file, so that the arithmetic does not change.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HALF = ".half"  # suffix of the names of converted tensors
MIN_ELEMENTS = 1000  # converting a smaller tensor saves less than its Cast node costs


def convert_to_fp16(path: Path) -> None:
    """Replace every large float32 initializer with a float16 one and a Cast node.

    IEEE 754 half precision keeps 11 significant bits; int8 with one scale per channel keeps at most 8. Activations stay
    in float32. Raise `ValueError` if a weight exceeds the range of float16.
    """
    program = onnx.load(path)
    graph = program.graph
    large = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= MIN_ELEMENTS]
    casts = []
    for tensor in large:
        with np.errstate(over="ignore"):  # the error below names the tensor
            weights = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(weights).all():
            raise ValueError(f"{tensor.name} has values beyond 65,504; expected values in the range of float16")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(weights, f"{name}{HALF}"))
        casts.append(helper.make_node("Cast", [f"{name}{HALF}"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(program, path)
