"""Read and write bodies of the Open Inference Protocol: a JSON object, followed by the bytes of binary tensors.

https://github.com/kserve/open-inference-protocol, with the extension of KServe and Triton for binary tensors. The
schema is built on the first request, which saves a millisecond of the start.
"""

import base64
import json
import math
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Annotated, Any, NotRequired

import numpy as np
from fastapi.exceptions import RequestValidationError
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from lambda_app.errors import BadField, MalformedRequest, PhotoTooLarge
from lambda_app.routes.open_inference.endpoints import HEADER_LENGTH

DATATYPES = {"f": "FP32", "b": "BOOL", "O": "BYTES"}  # by kind of NumPy dtype
Tensors = dict[str, NDArray[Any]]  # by name; strings are arrays of objects


class InputParameters(TypedDict):
    binary_data_size: NotRequired[NonNegativeInt]  # bytes that follow the JSON


class Input(TypedDict):
    name: str
    datatype: str
    shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=4)]
    parameters: NotRequired[InputParameters | None]
    data: NotRequired[list[Any]]  # in row-major order, nested or flat; strings in base64


class OutputParameters(TypedDict):
    binary_data: NotRequired[bool]
    classification: NotRequired[NonNegativeInt]  # number of highest values, as value:index:class


class Output(TypedDict):
    name: str
    parameters: NotRequired[OutputParameters | None]


class RequestParameters(TypedDict):
    binary_data_output: NotRequired[bool]  # default for outputs without `binary_data`


class InferenceRequest(TypedDict):
    """Body of an inference request; other fields are ignored."""

    id: NotRequired[str | None]  # some clients send null without an id
    inputs: Annotated[list[Input], Field(min_length=1, max_length=1)]
    outputs: NotRequired[Annotated[list[Output], Field(max_length=10)]]  # none for all
    parameters: NotRequired[RequestParameters | None]


@cache
def schema() -> TypeAdapter[InferenceRequest]:
    return TypeAdapter(InferenceRequest)


def read_inference(body: bytes, headers: Headers, max_brackets: int) -> tuple[InferenceRequest, bytes]:
    """Return the JSON object and the bytes after it. Raise `MalformedRequest`, `BadField` or `RequestValidationError`.

    Call it in a thread: megabytes of JSON take a tenth of a second.
    """
    length = _header_length(headers.get(HEADER_LENGTH), len(body))
    # Two million empty lists are 6 kB of gzip, but took 220 MB and blocked every other thread for a second.
    if (brackets := body.count(b"[", 0, length) + body.count(b"{", 0, length)) > max_brackets:
        raise BadField(f"the request has {brackets} opening brackets; expected at most {max_brackets}")
    try:
        # Two steps: for a million numbers, validate_json takes twice the time and three times the memory.
        return schema().validate_python(from_json(body[:length]), strict=True), body[length:]
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_input=False, include_url=False)) from error
    except ValueError as error:
        raise BadField(f"the JSON: {error}; expected an object") from error


def _header_length(given: str | None, size: int) -> int:
    if given is None:
        return size
    if given.isdecimal() and len(given) < 20 and int(given) <= size:  # int() refuses 4,300 digits
        return int(given)
    raise MalformedRequest(f"{HEADER_LENGTH} is {given!r:.80}; expected a number up to the body's {size} bytes")


def read_data(tensor: Input, binary: bytes) -> list[Any] | bytes:
    """Return the data of the tensor. Raise `MalformedRequest` or `BadField`."""
    size = (tensor.get("parameters") or {}).get("binary_data_size")
    if (size or 0) != len(binary):
        raise MalformedRequest(f"binary_data_size is {size or 0}; {len(binary)} bytes follow the JSON")
    if size is not None:
        return binary
    if "data" not in tensor:
        raise BadField(f"{tensor['name']!r:.80} has neither data nor binary_data_size; expected one of them")
    return tensor["data"]


def read_strings(data: list[Any] | bytes, count: int, max_bytes: int) -> list[bytes]:
    """Return the strings of a BYTES tensor, base64 in JSON. Raise `BadField` or `PhotoTooLarge`."""
    found = _split(data, count) if isinstance(data, bytes) else _decoded(data, count)
    if (size := sum(map(len, found))) > max_bytes:
        raise PhotoTooLarge(f"the request has {size} bytes of photos; at most {max_bytes} are accepted")
    return found


def _decoded(data: list[Any], count: int) -> list[bytes]:
    try:
        flat = _flat(data)
        if len(flat) == count:
            return [base64.b64decode(each, validate=True) for each in flat]
    except (TypeError, ValueError) as error:
        raise BadField(f"{error} in the data; expected strings of base64") from error
    raise BadField(f"the data are {len(flat)} strings; expected {count}, the number in the shape")


def _split(data: bytes, count: int) -> list[bytes]:
    """Split binary strings, each preceded by its length in four bytes."""
    found, start = [], 0
    for _ in range(count):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        found.append(data[start + 4 : end])
        start = end
    if start != len(data):
        raise BadField(f"the tensor has {len(data)} bytes; expected {start} for {count} strings, each after its length")
    return found


def read_octets(data: list[Any] | bytes, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return a UINT8 tensor. Raise `BadField`."""
    try:
        values = data if isinstance(data, bytes) else bytes(_flat(data))
    except (TypeError, ValueError) as error:
        raise BadField(f"{error} in the data; expected numbers from 0 to 255") from error
    if len(values) != math.prod(shape):
        raise BadField(f"the data are {len(values)} numbers; expected {math.prod(shape)}, the number in the shape")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _flat(data: list[Any]) -> list[Any]:
    """Flatten nested data in row-major order. Raise `TypeError` if lists and values are mixed."""
    while data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):  # chain() would split strings into letters
            raise TypeError("lists and values side by side")
        data = list(chain.from_iterable(data))
    return data


def write_tensors(
    model_fields: dict[str, Any], inference_request: InferenceRequest, tensors: Tensors, class_names: Sequence[str]
) -> Response:
    """Return the requested outputs, each as JSON or binary."""
    binary = (inference_request.get("parameters") or {}).get("binary_data_output", False)
    described: list[dict[str, Any]] = []
    payload = b""
    for output in inference_request.get("outputs") or [Output(name=name) for name in tensors]:
        options = output.get("parameters") or {}
        values = tensors[output["name"]]
        if count := options.get("classification"):
            values = _best(values, count, class_names)
        tensor = {"name": output["name"], "datatype": DATATYPES[values.dtype.kind], "shape": values.shape}
        if options.get("binary_data", binary):
            data = _bytes(values)
            described.append(tensor | {"parameters": {"binary_data_size": len(data)}})
            payload += data
        else:
            described.append(tensor | {"data": values.ravel().tolist()})
    echo = {} if inference_request.get("id") is None else {"id": inference_request["id"]}
    header = json.dumps(model_fields | echo | {"outputs": described}, separators=(",", ":")).encode()
    if not payload:
        return Response(header, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(header))}
    return Response(header + payload, headers=headers, media_type="application/octet-stream")


def _best(values: NDArray[Any], count: int, class_names: Sequence[str]) -> NDArray[Any]:
    """Return the highest values of each row, in Triton's format."""
    rows = [
        [f"{row[index]:f}:{index}:{class_names[index]}" for index in np.argsort(-row)[:count].tolist()]
        for row in values
    ]
    return np.array(rows, object)


def _bytes(values: NDArray[Any]) -> bytes:
    if values.dtype.kind != "O":
        return values.tobytes()
    encoded = [str(each).encode() for each in values.ravel()]
    return b"".join(len(each).to_bytes(4, "little") + each for each in encoded)
