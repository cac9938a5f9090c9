"""Draw cats, dogs and rabbits with Pillow: small photos without a license, which a network learns in seconds."""

from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, ...] | str

FUR = {"cat": (228, 130, 48), "dog": (112, 72, 44), "rabbit": (196, 192, 208)}  # RGB, the mean of the class
LABELS = tuple(FUR)
INK = (30, 22, 24)
PINK = (238, 150, 160)
CANVAS = 200  # width and height of a head in pixels, before scaling


@cache
def draw(label: str, seed: int, size: int = 64, fur_of: str | None = None) -> Image.Image:
    """Return a noisy head on a blurred background. The seed determines fur, position, scale and tilt.

    With `fur_of`, the head has the color of another animal.
    """
    rng = np.random.default_rng([LABELS.index(label), seed])
    blobs = Image.fromarray(rng.integers(20, 240, (5, 5, 3), np.uint8))
    image = blobs.resize((size, size), Image.Resampling.BICUBIC)
    side = int(size * rng.uniform(0.65, 0.95))
    fur = tuple(np.clip(FUR[fur_of or label] + rng.normal(0, 16, 3), 0, 255).astype(int).tolist())
    head = _head(label, fur).rotate(rng.uniform(-20, 20), Image.Resampling.BICUBIC)
    head = head.resize((side, side), Image.Resampling.LANCZOS)
    image.paste(head, tuple(rng.integers(0, size - side + 1, 2).tolist()), head)
    noisy = np.asarray(image) + rng.normal(0, 6, (size, size, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encode_image(image: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def write_dataset(folder: Path, counts: Mapping[str, int], size: int = 64) -> Path:
    """Write `counts` drawings of each class to FOLDER/CLASS/SEED.jpg, and return the folder."""
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for seed in range(count):
            (folder / label / f"{seed}.jpg").write_bytes(encode_image(draw(label, seed, size)))
    return folder


def _head(label: str, fur: Color) -> Image.Image:
    """Return an RGBA image with a transparent background. The animals differ in ears, whiskers, tongue and teeth."""
    image = Image.new("RGBA", (CANVAS, CANVAS))
    pen = ImageDraw.Draw(image)
    {"cat": _cat, "dog": _dog, "rabbit": _rabbit}[label](pen, fur)
    for x in (-28, 28):
        _oval(pen, (x, 4), (10, 10), INK)
        _oval(pen, (x + 3, 1), (3, 3), "white")
    return image


def _cat(pen: ImageDraw.ImageDraw, fur: Color) -> None:
    for x in (-1, 1):
        pen.polygon([_at(x * 72, -12), _at(x * 66, -88), _at(x * 12, -58)], fur)
        pen.polygon([_at(x * 62, -30), _at(x * 59, -70), _at(x * 30, -54)], PINK)
    _oval(pen, (0, 18), (70, 62), fur)
    _oval(pen, (0, 34), (8, 6), PINK)
    for x in (-1, 1):
        for y in (34, 44, 54):
            pen.line([_at(x * 20, 42), _at(x * 84, y)], INK, width=3)  # whiskers


def _dog(pen: ImageDraw.ImageDraw, fur: Color) -> None:
    _oval(pen, (0, 18), (70, 62), fur)
    for x in (-72, 72):
        _oval(pen, (x, 10), (22, 58), tuple(channel * 2 // 3 for channel in fur))
    _oval(pen, (0, 70), (15, 22), PINK)  # tongue
    _oval(pen, (0, 46), (36, 26), tuple(min(255, channel + 60) for channel in fur))
    _oval(pen, (0, 34), (12, 8), INK)


def _rabbit(pen: ImageDraw.ImageDraw, fur: Color) -> None:
    for x in (-32, 32):
        _oval(pen, (x, -52), (19, 47), fur)
        _oval(pen, (x, -52), (9, 34), PINK)
    _oval(pen, (0, 18), (70, 62), fur)
    _oval(pen, (0, 34), (8, 6), PINK)
    for x in (-10, 1):
        pen.rectangle([_at(x, 46), _at(x + 9, 64)], "white", INK)  # teeth


def _at(x: int, y: int) -> tuple[int, int]:
    """Return the pixel at an offset from the center of the canvas."""
    return CANVAS // 2 + x, CANVAS // 2 + y


def _oval(pen: ImageDraw.ImageDraw, center: tuple[int, int], radii: tuple[int, int], fill: Color) -> None:
    (x, y), (width, height) = center, radii
    pen.ellipse([_at(x - width, y - height), _at(x + width, y + height)], fill)
