"""Photos as training sees them: cropped, turned, darker, grey, blurred, noisy, so that the label is all that stays.

Written with Pillow and NumPy rather than torchvision's transforms, so that photos keep up (`make bench-input`): one
resampling does the crop, one table of 256 values brightness and contrast.
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
SHAPES = (3 / 4, 4 / 3)  # of a crop, width to height
TURNED, NOISY = 0.5, 0.1  # probabilities
BLURS = (0.25, 0.4, 0.6)  # of the side, to which a photo is made small before it is made big again


class Augmented:
    """Bytes to an augmented uint8 (3, S, S); it draws from `random` and from NumPy's global generator."""

    def __init__(self, params: Augment, image_size: int) -> None:
        self.params, self.side = params, image_size
        # A crop of the smallest share must not be enlarged more than the photo itself would be.
        self.min_side = round(image_size / params.crop_scale[0] ** 0.5)
        quantiles = norm.ppf((np.arange(256) + 0.5) / 256)
        self.noise = np.rint(255 * params.noise * quantiles).astype(np.int16)  # 256 equally likely values

    def __call__(self, data: bytes) -> NDArray[np.uint8]:
        return self.pixels(decode(data, min_side=self.min_side))

    def pixels(self, photo: Image.Image) -> NDArray[np.uint8]:
        """Of an RGB photo of any size; the crop comes first, so that the rest is cheap."""
        params, size = self.params, (self.side, self.side)
        image = photo.resize(size, BILINEAR, crop(photo.size, params.crop_scale))
        if random.random() < params.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if params.rotation and random.random() < TURNED:
            image = image.rotate(random.uniform(-params.rotation, params.rotation), BILINEAR)
        image = image.point(self.exposure(image))
        if random.random() < params.grey:
            image = image.convert("L").convert("RGB")
        if random.random() < params.blur:
            small = round(self.side * random.choice(BLURS))
            image = image.resize((small, small), BILINEAR).resize(size, BILINEAR)
        pixels = np.asarray(image).transpose(2, 0, 1)
        return self.noisy(pixels) if random.random() < NOISY else np.ascontiguousarray(pixels)

    def exposure(self, image: Image.Image) -> list[int]:
        """Brightness, then contrast around the mean grey, as a table of 256 values for each channel."""
        brightness, contrast = (
            1 + random.uniform(-most, most) for most in (self.params.brightness, self.params.contrast)
        )
        bright = np.minimum(brightness * np.arange(256), 255)
        mean = bright[np.asarray(image.reduce(8).convert("L"))].mean()  # of a thumbnail: a third of the time
        table = (mean + contrast * (bright - mean)).clip(0, 255).round().astype(np.uint8)
        return [*table.tolist()] * 3

    def noisy(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """With Gaussian noise, each value of its own."""
        noise = self.noise[np.random.randint(0, 256, pixels.shape, np.uint8)]
        return (pixels + noise).clip(0, 255).astype(np.uint8)


def crop(size: tuple[int, int], scale: tuple[float, float]) -> Box:
    """A box of a share of the area, anywhere, of any of the shapes with which it fits (Szegedy et al. 2015)."""
    width, height = size
    area = width * height * random.uniform(*scale)
    narrowest, widest = np.clip(SHAPES, area / height**2, width**2 / area)
    shape = np.exp(random.uniform(np.log(narrowest), np.log(widest)))
    wide, high = min(width, (area * shape) ** 0.5), min(height, (area / shape) ** 0.5)
    left, top = random.uniform(0, width - wide), random.uniform(0, height - high)
    return left, top, left + wide, top + high
