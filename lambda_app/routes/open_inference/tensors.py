"""Bodies of the Open Inference Protocol: a JSON object, behind it the bytes of the tensors that are sent in binary.

https://github.com/kserve/open-inference-protocol, with KServe's and Triton's extension for binary tensors. Their schema
is made when the first one comes: the start would take a millisecond longer.
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

HEADER_LENGTH = "Inference-Header-Content-Length"  # bytes of the JSON object, where others follow it
DATATYPES = {"f": "FP32", "b": "BOOL", "O": "BYTES"}  # by NumPy's kind
Tensors = dict[str, NDArray[Any]]  # by name; of strings, an array of objects


class InputParameters(TypedDict):
    binary_data_size: NotRequired[Annotated[NonNegativeInt, Field(description="bytes of it that follow the JSON")]]


class Input(TypedDict):
    name: str
    datatype: str
    shape: Annotated[list[PositiveInt], Field(min_length=1, max_length=4)]
    parameters: NotRequired[InputParameters | None]
    data: NotRequired[Annotated[list[Any], Field(description="row by row, nested or not; strings in base64")]]


class OutputParameters(TypedDict):
    binary_data: NotRequired[bool]
    classification: NotRequired[
        Annotated[NonNegativeInt, Field(description="so many of the highest values, as value:index:class")]
    ]


class Output(TypedDict):
    name: str
    parameters: NotRequired[OutputParameters | None]


class RequestParameters(TypedDict):
    binary_data_output: NotRequired[Annotated[bool, Field(description="of all outputs that say nothing themselves")]]


class InferenceRequest(TypedDict):
    """What else the protocol knows, and what it does not, is ignored."""

    id: NotRequired[str | None]  # some clients send null where they have none
    inputs: Annotated[list[Input], Field(min_length=1, max_length=1)]
    outputs: NotRequired[Annotated[list[Output], Field(max_length=10, description="none for all")]]
    parameters: NotRequired[RequestParameters | None]


@cache
def schema() -> TypeAdapter[InferenceRequest]:
    return TypeAdapter(InferenceRequest)


def read_inference(body: bytes, headers: Headers, max_brackets: int) -> tuple[InferenceRequest, bytes]:
    """The JSON object and what follows it; for a thread, since megabytes take a tenth of a second.

    Raises MalformedRequest, BadField or RequestValidationError.
    """
    length = _header_length(headers.get(HEADER_LENGTH), len(body))
    # Two million empty lists are 6 kB of gzip, but took 220 MB and held every other thread for a second.
    if (brackets := body.count(b"[", 0, length) + body.count(b"{", 0, length)) > max_brackets:
        raise BadField(f"the request has {brackets} opening brackets; expected at most {max_brackets}")
    try:
        # In two steps, for validate_json takes twice the time and three times the memory for a million numbers.
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


def data_of(tensor: Input, behind: bytes) -> list[Any] | bytes:
    """Raises MalformedRequest or BadField."""
    size = (tensor.get("parameters") or {}).get("binary_data_size")
    if (size or 0) != len(behind):
        raise MalformedRequest(f"binary_data_size is {size or 0}; {len(behind)} bytes follow the JSON")
    if size is not None:
        return behind
    if "data" not in tensor:
        raise BadField(f"{tensor['name']!r:.80} has neither data nor binary_data_size; expected one of them")
    return tensor["data"]


def strings(data: list[Any] | bytes, count: int, max_bytes: int) -> list[bytes]:
    """Of a BYTES tensor; in JSON they are base64, for a photo is no text. Raises BadField or PhotoTooLarge."""
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
    raise BadField(f"the data are {len(flat)} strings; expected {count}, as the shape says")


def _split(data: bytes, count: int) -> list[bytes]:
    """Each behind its length, in four bytes."""
    found, start = [], 0
    for _ in range(count):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        found.append(data[start + 4 : end])
        start = end
    if start != len(data):
        raise BadField(f"the tensor has {len(data)} bytes; expected {start} of {count} strings, each behind its length")
    return found


def octets(data: list[Any] | bytes, shape: Sequence[int]) -> NDArray[np.uint8]:
    """A UINT8 tensor. Raises BadField."""
    try:
        values = data if isinstance(data, bytes) else bytes(_flat(data))
    except (TypeError, ValueError) as error:
        raise BadField(f"{error} in the data; expected numbers from 0 to 255") from error
    if len(values) != math.prod(shape):
        raise BadField(f"the data are {len(values)} numbers; expected {math.prod(shape)}, as the shape says")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _flat(data: list[Any]) -> list[Any]:
    """Row by row, whether it came nested or not. Raises TypeError."""
    while data and isinstance(data[0], list):
        if not all(isinstance(row, list) for row in data):  # a string would come apart, at every level anew
            raise TypeError("lists and values side by side")
        data = list(chain.from_iterable(data))
    return data


def write_tensors(
    about: dict[str, Any], asked: InferenceRequest, tensors: Tensors, class_names: Sequence[str]
) -> Response:
    """The outputs that were asked for, in the way that was asked for."""
    binary = (asked.get("parameters") or {}).get("binary_data_output", False)
    described: list[dict[str, Any]] = []
    behind = b""
    for output in asked.get("outputs") or [Output(name=name) for name in tensors]:
        wanted = output.get("parameters") or {}
        values = tensors[output["name"]]
        if count := wanted.get("classification"):
            values = _best(values, count, class_names)
        tensor = {"name": output["name"], "datatype": DATATYPES[values.dtype.kind], "shape": values.shape}
        if wanted.get("binary_data", binary):
            data = _bytes(values)
            described.append(tensor | {"parameters": {"binary_data_size": len(data)}})
            behind += data
        else:
            described.append(tensor | {"data": values.ravel().tolist()})
    echo = {} if asked.get("id") is None else {"id": asked["id"]}
    header = json.dumps(about | echo | {"outputs": described}, separators=(",", ":")).encode()
    if not behind:
        return Response(header, media_type="application/json")
    headers = {HEADER_LENGTH: str(len(header))}
    return Response(header + behind, headers=headers, media_type="application/octet-stream")


def _best(values: NDArray[Any], count: int, class_names: Sequence[str]) -> NDArray[Any]:
    """The highest of each row, as Triton writes them."""
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
