"""Serve a model with ONNX Runtime as in tutorials: default session, float input, and the photo decoded in full size."""

from io import BytesIO

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from mangum import Mangum
from PIL import Image

CLASSES = ("cat", "dog")
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

session = onnxruntime.InferenceSession("model.onnx")
app = FastAPI()


def preprocess(data: bytes) -> np.ndarray:
    """Return (1, 3, 224, 224) float32, normalized."""
    image = Image.open(BytesIO(data)).convert("RGB").resize((224, 224))
    pixels = np.asarray(image, dtype=np.float32) / 255
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)[None]


def classify(data: bytes) -> dict[str, object]:
    [logits] = session.run(None, {"images": preprocess(data)})
    exponentials = np.exp(logits[0] - logits[0].max())
    probabilities = exponentials / exponentials.sum()
    return {"predicted_class": CLASSES[int(probabilities.argmax())], "probabilities": probabilities.tolist()}


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/predict")
async def predict(request: Request) -> dict[str, object]:
    return classify(await request.body())


handler = Mangum(app)
