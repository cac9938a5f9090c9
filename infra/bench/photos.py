"""Photos for the benchmark: the bundled cat at the sizes of a thumbnail, a web page and a phone.

No camera photo ships with the repository, so the large photos are the bundled photo, enlarged, with sensor grain.
Without the grain, a JPEG of 12 megapixels would be as small as one of 1 megapixel.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from infra import ROOT
from infra.emulator.event import HttpRequest

SAMPLE = ROOT / "data/samples/cat.jpg"
FIRST = "500x375"  # the photo of the cold start, which is also sent most often
GRAIN = 6.0  # standard deviation on a scale of 0 to 255; gives 0.3 bytes per pixel at quality 85, as phones do
QUALITY = 85


@dataclass(frozen=True)
class BenchPhoto:
    name: str
    width: int
    height: int
    format: str
    data: bytes

    @property
    def request(self) -> HttpRequest:
        headers = (("content-type", f"image/{self.format.lower()}"),)
        return HttpRequest("POST", "/predict", headers=headers, body=self.data)


def bench_photos() -> tuple[BenchPhoto, ...]:
    """Return the photos that every candidate receives."""
    return (
        first_photo(),
        draw_photo("4mp", 2309, 1732),
        draw_photo("12mp", 4000, 3000),
        draw_photo("png", 1024, 768, "PNG"),
        draw_photo("webp", 1024, 768, "WebP"),
    )


def first_photo() -> BenchPhoto:
    """Return the photo `FIRST`."""
    return draw_photo(FIRST, 500, 375)


def draw_photo(name: str, width: int, height: int, file_format: str = "JPEG") -> BenchPhoto:
    """Return the bundled cat with `width` x `height` pixels; the bytes are the same in every run."""
    with Image.open(SAMPLE) as sample:
        image = sample.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, GRAIN, (height, width, 1)).astype(np.float32)
    pixels = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
    data = encode(Image.fromarray(pixels), file_format, quality=QUALITY)
    return BenchPhoto(name, width, height, file_format, data)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return the encoded image."""
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()
