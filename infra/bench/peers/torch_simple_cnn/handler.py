"""Serve a small network as most tutorials on serverless classifiers do: FastAPI, PyTorch and torchvision."""

from io import BytesIO

import torch
from fastapi import FastAPI, Request
from mangum import Mangum
from network import SimpleCNN
from PIL import Image
from torchvision import transforms

CLASSES = ("cat", "dog")

model = SimpleCNN()
model.load_state_dict(torch.load("model.pth", map_location="cpu"))
model.eval()
transform = transforms.Compose(
    [
        transforms.Resize((224, 224)),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)
app = FastAPI()


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "healthy"}


@app.post("/predict")
async def predict(request: Request) -> dict[str, object]:
    image = Image.open(BytesIO(await request.body())).convert("RGB")
    with torch.no_grad():
        probabilities = model(transform(image).unsqueeze(0)).softmax(dim=1)[0].tolist()
    best = max(range(len(CLASSES)), key=probabilities.__getitem__)
    return {"predicted_class": CLASSES[best], "probabilities": dict(zip(CLASSES, probabilities, strict=True))}


handler = Mangum(app)
