"""Models of the Open Inference Protocol: one takes photos as files, the other takes the input of the network."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from lambda_app.classifier import ACTIVATION_MAP, Classifier
from lambda_app.errors import BadField, NoModel, RequestError
from lambda_app.inference import Inference
from lambda_app.prediction_record import PredictionRecord
from lambda_app.routes.open_inference.endpoints import MODEL, NETWORK
from lambda_app.routes.open_inference.tensors import (
    InferenceRequest,
    Tensors,
    read_data,
    read_inference,
    read_octets,
    read_strings,
    write_tensors,
)
from lambda_app.settings import Settings
from lambda_app.telemetry.request_log import RequestRecord
from lambda_app.uploads.photo import BODY_OVERHEAD
from lambda_app.uploads.reader import read_body

PER_CLASS = {"probabilities", "logits"}
# Outputs that are computed only for requests that name them.
RECTANGLE = "activation_map_rectangle"
ON_REQUEST = {ACTIVATION_MAP, RECTANGLE}


@dataclass(frozen=True)
class Tensor:
    """Tensor in the metadata of a model; a dimension of -1 is the number of photos."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    name: str
    platform: str
    inputs: tuple[Tensor]
    outputs: tuple[Tensor, ...]

    def metadata(self, version: str) -> dict[str, Any]:
        return {"versions": [version]} | asdict(self)

    def check(self, inference_request: InferenceRequest, max_photos: int) -> None:
        """Raise `BadField` if the model does not accept the input or lacks a requested output."""
        [known], [given] = self.inputs, inference_request["inputs"]
        if (known.name, known.datatype) != (given["name"], given["datatype"]):
            names = f"{given['name']!r:.80} of {given['datatype']!r:.80}"
            raise BadField(f"the input is {names}; expected {known.name!r} of {known.datatype!r}")
        (photos, *rest), one = given["shape"], list(known.shape[1:])
        if photos > max_photos or rest not in (one, one or [1]):  # some clients send a list as a column, [N, 1]
            shape = f"{['N', *one]} with N from 1 to {max_photos}"
            raise BadField(f"the shape of {known.name} is {given['shape']!r:.80}; expected {shape}")
        outputs = {output.name: output for output in self.outputs}
        for output in inference_request.get("outputs", []):
            tensor = outputs.pop(output["name"], None)  # None if unknown or requested twice
            if tensor is None:
                names = ", ".join(each.name for each in self.outputs)
                raise BadField(f"the output {output['name']!r:.80} is unknown or requested twice; expected {names}")
            if (output.get("parameters") or {}).get("classification") and tensor.name not in PER_CLASS:
                raise BadField(
                    f"classification of {tensor.name} is requested; expected an output with a value for each class"
                )


def _models(classifier: Classifier) -> list[Model]:
    size, classes = classifier.metadata.image_size, len(classifier.metadata.class_names)
    on_request = (
        Tensor(ACTIVATION_MAP, "FP32", (-1, -1, -1)),
        Tensor(RECTANGLE, "FP32", (-1, 4)),  # left, top, width and height, as shares of the upright photo's size
    )
    outputs = (
        Tensor("predicted_class", "BYTES", (-1,)),
        Tensor("confidence", "FP32", (-1,)),
        Tensor("probabilities", "FP32", (-1, classes)),
        Tensor("unknown", "BOOL", (-1,)),
        Tensor("request_id", "BYTES", (-1,)),  # one per photo, for feedback
        Tensor("logits", "FP32", (-1, classes)),
        Tensor("familiarity", "FP32", (-1,)),
        *(on_request if classifier.has_activation_map else ()),
    )
    photos, images = Tensor("photos", "BYTES", (-1,)), Tensor("images", "UINT8", (-1, 3, size, size))
    return [
        Model(MODEL, "pillow_onnxruntime", (photos,), outputs),
        Model(NETWORK, "onnxruntime_onnx", (images,), outputs),
    ]


class OpenInference:
    """Answer metadata and inference requests for the models."""

    def __init__(self, inference: Inference, settings: Settings) -> None:
        self.inference, self.settings = inference, settings
        metadata = inference.classifier.metadata
        self.version, self.class_names = metadata.model_version, metadata.class_names
        self.models = {model.name: model for model in _models(inference.classifier)}
        self.max_bytes = settings.max_image_bytes * 4 // 3 + BODY_OVERHEAD  # photos in base64
        # One list per row of the largest image tensor, doubled to leave room for the surrounding JSON.
        self.max_brackets = 2 * settings.max_batch * 3 * metadata.image_size

    def model(self, name: str, version: str | None = None) -> Model:
        """Return the model, in the served version unless another is given. Raise `NoModel` if it does not exist."""
        if name in self.models and version in {None, self.version}:
            return self.models[name]
        path = name if version is None else f"{name}/versions/{version}"
        raise NoModel(f"there is no model {path!r:.80}; expected {' or '.join(self.models)}, version {self.version}")

    async def infer(self, request: Request) -> Response:
        """Return the response to an inference request. Raise `RequestError` or `RequestValidationError`."""
        model = self.model(**request.path_params)
        body = await read_body(request, self.max_bytes)
        threads, loop = self.inference.executor, asyncio.get_running_loop()
        inference_request, inputs = await loop.run_in_executor(threads, self._read, model, body, request.headers)
        explain = any(output["name"] in ON_REQUEST for output in inference_request.get("outputs", []))
        if isinstance(inputs, list):
            answers = await _classify_photos(self.inference, inputs, request.state.record, explain=explain)
        else:
            answers = await self.inference.classify_images(inputs, request.state.record, explain=explain)
        tensors = _tensors(answers) | (_map_tensors(answers) if explain else {})
        model_fields = {"model_name": model.name, "model_version": self.version}
        return write_tensors(model_fields, inference_request, tensors, self.class_names)

    def _read(
        self, model: Model, body: bytes, headers: Headers
    ) -> tuple[InferenceRequest, list[bytes] | NDArray[np.uint8]]:
        """Return the request and its photos or images."""
        inference_request, binary = read_inference(body, headers, self.max_brackets)
        model.check(inference_request, self.settings.max_batch)
        [tensor] = inference_request["inputs"]
        data, shape = read_data(tensor, binary), tensor["shape"]
        if model.name == MODEL:
            return inference_request, read_strings(data, shape[0], self.settings.max_image_bytes)
        return inference_request, read_octets(data, shape)


async def _classify_photos(
    inference: Inference, photos: Sequence[bytes], record: RequestRecord, *, explain: bool
) -> list[PredictionRecord]:
    answers: list[PredictionRecord] = []
    for place, answer in enumerate(await inference.classify_photos(photos, record, explain=explain), 1):
        if isinstance(answer, RequestError):
            record.predictions = []  # the client receives none of them
            raise type(answer)(f"photo {place} of {len(photos)}: {answer}") from answer
        answers.append(answer)
    return answers


def _tensors(answers: Sequence[PredictionRecord]) -> Tensors:
    predictions = [answer.prediction for answer in answers]
    return {
        "predicted_class": np.array([each.predicted_class for each in predictions], object),
        "confidence": np.array([each.confidence for each in predictions], np.float32),
        "probabilities": np.concatenate([answer.outputs.probabilities for answer in answers]),
        "unknown": np.array([each.unknown for each in predictions]),
        "request_id": np.array([answer.request_id for answer in answers], object),
        "logits": np.concatenate([answer.outputs.logits for answer in answers]),
        "familiarity": np.concatenate([answer.outputs.familiarity for answer in answers]),
    }


def _map_tensors(answers: Sequence[PredictionRecord]) -> Tensors:
    """Return the maps and the part of each photo that they cover, which for images that the client decoded is all."""
    from lambda_app.explanation import find_rectangle  # noqa: PLC0415  # only for requests for a map

    rectangles = [find_rectangle(*(answer.upright_size or (1, 1))).model_dump() for answer in answers]
    return {
        ACTIVATION_MAP: np.concatenate([answer.outputs.activation_map for answer in answers]),
        RECTANGLE: np.array([[*rectangle.values()] for rectangle in rectangles], np.float32),
    }
