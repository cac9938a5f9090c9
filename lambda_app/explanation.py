"""Build the explanation of a prediction: the activation map as a PNG, and the part of the photo that the map covers.

This module is imported on demand: for explanations and for the OpenAPI document.
"""

import base64
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field


class Rectangle(BaseModel):
    left: float = Field(ge=0, le=1, description="distance from the left edge, as a share of the photo's width")
    top: float = Field(ge=0, le=1, description="distance from the upper edge, as a share of the photo's height")
    width: float = Field(gt=0, le=1, description="width, as a share of the photo's width")
    height: float = Field(gt=0, le=1, description="height, as a share of the photo's height")


class Explanation(BaseModel):
    png: str = Field(
        description="the activation map, a grayscale PNG in base64: 255 is the strongest evidence for the class, 0 none"
    )
    width: int = Field(ge=1, description="width of the map in pixels")
    height: int = Field(ge=1, description="height of the map in pixels")
    peak: float = Field(description="highest value of the map before scaling; 255 stands for it, unless it is negative")
    rectangle: Rectangle = Field(
        description="the part of the upright photo that the map covers; the network sees no more"
    )


def find_rectangle(width: int, height: int) -> Rectangle:
    """Return the central square of an upright photo, which `lambda_app.preprocess` crops, to half a pixel."""
    side = min(width, height)
    across, down = side / width, side / height
    return Rectangle(left=(1 - across) / 2, top=(1 - down) / 2, width=across, height=down)


def explain(activation_map: NDArray[np.float32], upright_size: tuple[int, int]) -> Explanation:
    """Return the explanation for a map (h, w) of a photo with this width and height."""
    height, width = activation_map.shape
    peak = float(activation_map.max())
    return Explanation(
        png=base64.b64encode(encode_png(activation_map)).decode(),
        width=width,
        height=height,
        peak=peak,
        rectangle=find_rectangle(*upright_size),
    )


def encode_png(activation_map: NDArray[np.float32]) -> bytes:
    """Return the positive values of a map (h, w) as a grayscale PNG whose brightest pixel is 255, or black."""
    positive = activation_map.clip(min=0)
    gray = np.rint(255 * positive / max(float(positive.max()), np.finfo(np.float32).tiny)).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(gray).save(file, "PNG")
    return file.getvalue()
