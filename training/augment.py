"""Augment training photos: random crop, flip, rotation, exposure, grayscale, blur and noise.

Written with Pillow and NumPy instead of torchvision's transforms, so that decoding keeps up with training
(`make bench-input`): one resampling does the crop, and one table of 256 values does brightness and contrast.
"""

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm

from lambda_app.preprocess import decode
from training.config import Augment

BILINEAR = Image.Resampling.BILINEAR
Box = tuple[float, float, float, float]  # left, top, right, bottom
ASPECT_RATIOS = (3 / 4, 4 / 3)  # narrowest and widest crop, width to height
ROTATION_PROBABILITY, NOISE_PROBABILITY = 0.5, 0.1
BLUR_SCALES = (0.25, 0.4, 0.6)  # share of the side to which a photo is shrunk before it is enlarged again


class Augmenter:
    """Turn the bytes of a photo into augmented uint8 pixels (3, S, S).

    Draws from `random` and from NumPy's global generator.
    """

    def __init__(self, params: Augment, image_size: int) -> None:
        self.params, self.side = params, image_size
        # Decode no smaller than this, so that the smallest crop has about `image_size` pixels per side.
        self.min_side = round(image_size / params.crop_scale[0] ** 0.5)
        quantiles = norm.ppf((np.arange(256) + 0.5) / 256)
        self.noise = np.rint(255 * params.noise * quantiles).astype(np.int16)  # 256 equally likely values

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        return self.augment(decode(data, min_side=self.min_side))

    def augment(self, photo: Image.Image) -> NDArray[np.uint8]:
        """Return pixels (3, S, S) of an RGB photo of any size. The crop comes first, so that the rest is cheap."""
        params, size = self.params, (self.side, self.side)
        image = photo.resize(size, BILINEAR, random_crop(photo.size, params.crop_scale))
        if random.random() < params.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if params.rotation and random.random() < ROTATION_PROBABILITY:
            image = image.rotate(random.uniform(-params.rotation, params.rotation), BILINEAR)
        image = image.point(self.exposure_table(image))
        if random.random() < params.gray:
            image = image.convert("L").convert("RGB")
        if random.random() < params.blur:
            small = round(self.side * random.choice(BLUR_SCALES))
            image = image.resize((small, small), BILINEAR).resize(size, BILINEAR)
        pixels = np.asarray(image).transpose(2, 0, 1)
        return self.add_noise(pixels) if random.random() < NOISE_PROBABILITY else np.ascontiguousarray(pixels)

    def exposure_table(self, image: Image.Image) -> list[int]:
        """Draw brightness, and contrast around the mean luma; return both as 256 values for each channel."""
        brightness, contrast = (
            1 + random.uniform(-limit, limit) for limit in (self.params.brightness, self.params.contrast)
        )
        bright = np.minimum(brightness * np.arange(256), 255)
        mean = bright[np.asarray(image.reduce(8).convert("L"))].mean()  # a thumbnail takes a third of the time
        table = (mean + contrast * (bright - mean)).clip(0, 255).round().astype(np.uint8)
        return table.tolist() * 3

    def add_noise(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Add Gaussian noise, drawn for each value separately."""
        noise = self.noise[np.random.randint(0, 256, pixels.shape, np.uint8)]
        return (pixels + noise).clip(0, 255).astype(np.uint8)


def random_crop(size: tuple[int, int], scale: tuple[float, float]) -> Box:
    """Draw a box whose share of the area lies in `scale`, with an aspect ratio that fits (Szegedy et al. 2015)."""
    width, height = size
    area = width * height * random.uniform(*scale)
    narrowest, widest = np.clip(ASPECT_RATIOS, area / height**2, width**2 / area)
    ratio = np.exp(random.uniform(np.log(narrowest), np.log(widest)))
    box_width, box_height = min(width, (area * ratio) ** 0.5), min(height, (area / ratio) ** 0.5)
    left, top = random.uniform(0, width - box_width), random.uniform(0, height - box_height)
    return left, top, left + box_width, top + box_height
