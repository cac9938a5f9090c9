"""Generate small files of every format, mode, depth and orientation, bit by bit if no library writes them."""

import struct
import zlib
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from infra.bench.decoding import png_chunk
from lambda_app.decoding.color import BT709, BT2020, D65, P3, Colorimetry, build_profile
from tests.support.drawing import encode_image

WIDTH, HEIGHT = 48, 36
MAX_DIFFERENCE = 3  # of 255, on average, between decoders of the same file
PROPHOTO = ((0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001), (0.3457, 0.3585))
ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PROFILES = {
    "linear": build_profile(Colorimetry((1.0,))),
    "display-p3": build_profile(Colorimetry(primaries=P3)),
    "adobe-rgb": build_profile(Colorimetry((2.2,), ADOBE_RGB)),
    "prophoto": build_profile(Colorimetry((1.8,), *PROPHOTO)),
    "rec2020": build_profile(Colorimetry((2.4,), BT2020)),
    "srgb": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "broken": b"not a profile",
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ORDER = {b"IHDR": 0, b"PLTE": 1, b"tRNS": 2, b"IDAT": 3, b"IEND": 4}  # of a PNG's chunks; all others follow IHDR


def picture() -> NDArray[np.float64]:
    """Return (HEIGHT, WIDTH, 4) smooth colors and transparency in 0..1, which differ in every corner."""
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    return np.stack([x, y, 1 - (x + y) / 2, 0.25 + 0.75 * x], axis=-1)


def photo(mode: str = "RGB") -> Image.Image:
    return Image.fromarray((picture() * 255).round().astype(np.uint8)).convert("RGB" if mode == "CMYK" else mode)


def difference(expected: Image.Image, actual: Image.Image) -> float:
    """Return the mean difference of two images in RGB, from 0 to 255."""
    return float(np.abs(np.asarray(expected.convert("RGB"), int) - np.asarray(actual, int)).mean())


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def png(color_type: int, depth: int, *chunks: tuple[bytes, bytes], palette: bytes = b"") -> bytes:
    """Return a PNG of `picture`, with these chunks between its header and its pixels."""
    values = {0: picture()[..., :1], 2: picture()[..., :3], 3: picture()[..., :1],
              4: picture()[..., [0, 3]], 6: picture()}[color_type]  # fmt: skip
    samples = (values * ((1 << depth) - 1)).round().astype(">u2")
    rows = [packed(row.ravel(), depth) for row in samples]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, 0)
    body = [(b"IHDR", header), *chunks, *([(b"PLTE", palette)] if palette else [])]
    body += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    body.sort(key=lambda chunk: ORDER.get(chunk[0], 0.5))
    return PNG_SIGNATURE + b"".join(png_chunk(*chunk) for chunk in body)


def packed(samples: NDArray[np.uint16], depth: int) -> bytes:
    """Return samples of 1 to 16 bits as packed big-endian bytes."""
    if depth == 16:
        return samples.astype(">u2").tobytes()
    bits = np.unpackbits(samples.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]
    return np.packbits(bits).tobytes()


def palette(depth: int) -> bytes:
    levels = np.linspace(0, 255, 1 << depth).round().astype(np.uint8)
    return np.stack([levels, levels[::-1], levels // 2], axis=1).tobytes()


def jpegs() -> Iterator[tuple[str, bytes]]:
    for mode, subsampling, progressive in product(("L", "RGB"), (0, 1, 2), (False, True)):
        options = {"subsampling": subsampling, "progressive": progressive, "quality": 92}
        yield (
            f"{mode} {subsampling} {'progressive' if progressive else 'baseline'}",
            encode_image(photo(mode), "JPEG", **options),
        )
    for orientation in range(1, 9):
        yield f"orientation {orientation}", encode_image(photo(), "JPEG", quality=92, exif=exif(orientation))
    for name, profile in PROFILES.items():
        yield f"profile {name}", encode_image(photo(), "JPEG", quality=95, subsampling=0, icc_profile=profile)
    plain, progressive = (encode_image(photo(), "JPEG", quality=92, progressive=each) for each in (False, True))
    yield "restarts", encode_image(photo(), "JPEG", quality=92, restart_marker_blocks=2)
    yield "no end marker", plain[:-2]
    yield "progressive without an end marker", progressive[:-2]
    yield "appended video", plain + np.random.default_rng(0).bytes(200_000)
    yield "progressive with an appended video", progressive + np.random.default_rng(0).bytes(200_000)
    yield "no end marker and a trailer", plain[:-2] + b"vendor\0\0\1\2" * 50


def pngs() -> Iterator[tuple[str, bytes]]:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for color_type, depth in ((kind, depth) for kind in depths for depth in depths[kind]):
        colors = palette(depth) if color_type == 3 else b""
        yield f"color type {color_type} of {depth} bits", png(color_type, depth, palette=colors)
        if color_type in {0, 2}:
            middle = struct.pack(f">{CHANNELS[color_type]}H", *_middle(color_type, depth))
            yield f"transparent color type {color_type} of {depth} bits", png(color_type, depth, (b"tRNS", middle))
        if color_type == 3:
            alphas = bytes(range(0, 256, 256 >> depth))
            yield f"transparent palette of {depth} bits", png(3, depth, (b"tRNS", alphas), palette=colors)
    for orientation in range(1, 9):
        yield f"orientation {orientation}", encode_image(photo(), "PNG", exif=exif(orientation))
    for name, profile in PROFILES.items():
        yield f"profile {name}", encode_image(photo(), "PNG", icc_profile=profile)
    yield from _png_colors()
    plain = png(2, 8)
    yield "wrong checksum of metadata", plain[:33] + png_chunk(b"gAMA", b"\0\0\xb1\x8f")[:-4] + b"\0\0\0\0" + plain[33:]
    text = zlib.compress(bytes(3_000_000))
    for kind in (b"zTXt", b"iCCP"):
        yield f"megabytes in {kind!r}", png(2, 8, (kind, b"name\0\0" + text))
    for kind in (b"pHYs", b"eXIf", b"iTXt", b"iCCP", b"gAMA", b"cHRM", b"cICP", b"tIME", b"sBIT"):
        yield f"broken {kind!r}", png(2, 8, (kind, b"\xff\xfe\1"))


def _middle(color_type: int, depth: int) -> list[int]:
    """Return the samples of a pixel in the middle of the picture: the transparent color."""
    values = picture()[HEIGHT // 2, WIDTH // 2, : CHANNELS[color_type]]
    return [int(value) for value in (values * ((1 << depth) - 1)).round()]


def _png_colors() -> Iterator[tuple[str, bytes]]:
    def gama(gamma: float) -> tuple[bytes, bytes]:
        return b"gAMA", struct.pack(">I", round(100_000 / gamma))

    def chrm(primaries: tuple[float, ...], white: tuple[float, float] = D65) -> tuple[bytes, bytes]:
        return b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in (*white, *primaries)))

    for gamma in (1.0, 1.8, 2.2):
        for color_type in (0, 2, 6):
            yield f"gamma {gamma} of color type {color_type}", png(color_type, 8, gama(gamma))
    yield "gamma and chromaticities of Adobe RGB", png(2, 8, gama(2.2), chrm(ADOBE_RGB))
    yield "gamma and chromaticities of sRGB", png(2, 8, gama(2.2), chrm(BT709))
    yield "sRGB over another gamma", png(2, 8, (b"sRGB", b"\0"), gama(1.0))
    yield "chromaticities alone", png(2, 8, chrm(ADOBE_RGB))
    for primaries, transfer in product((1, 9, 12), (1, 8, 13)):
        yield f"code points {primaries} and {transfer}", png(2, 8, (b"cICP", bytes([primaries, transfer, 0, 1])))
    yield "code points over a profile", png(2, 8, (b"cICP", b"\x0c\x0d\0\1"), gama(1.0))


def gifs() -> Iterator[tuple[str, bytes]]:
    yield "plain", encode_image(photo(), "GIF")
    yield "gray", encode_image(photo("L"), "GIF")
    yield "interlaced", encode_image(photo(), "GIF", interlace=1)
    yield "transparent", encode_image(photo("RGBA").convert("P"), "GIF", transparency=30)
    yield "animated", encode_image(photo(), "GIF", save_all=True, append_images=[photo().rotate(180)])
    plain = encode_image(photo(), "GIF")
    wider = plain[:6] + struct.pack("<HH", WIDTH + 20, HEIGHT + 10) + plain[10:]
    frame = wider.index(b"," + struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT))
    yield "first frame smaller than the canvas", wider
    yield "first frame within the canvas", wider[: frame + 1] + struct.pack("<HH", 9, 5) + wider[frame + 5 :]
    narrower = plain[:6] + struct.pack("<HH", 20, 20) + plain[10:]
    yield "first frame larger than the canvas", narrower
    comment = b"!\xfe" + b"\xff" + b"c" * 255 + b"\0"
    start = plain.index(b"," + bytes(4), 13)
    yield "a thousand comments", plain[:start] + comment * 1000 + plain[start:]


def webps() -> Iterator[tuple[str, bytes]]:
    for mode, lossless in product(("RGB", "RGBA"), (False, True)):
        yield (
            f"{mode} {'lossless' if lossless else 'lossy'}",
            encode_image(photo(mode), "WEBP", lossless=lossless, quality=92),
        )
    for orientation in range(1, 9):
        yield f"orientation {orientation}", encode_image(photo(), "WEBP", lossless=True, exif=exif(orientation))
    for name, profile in PROFILES.items():
        yield f"profile {name}", encode_image(photo(), "WEBP", lossless=True, icc_profile=profile)
    for mode in ("RGB", "RGBA"):
        frames = {"save_all": True, "append_images": [photo(mode).rotate(180)], "lossless": True}
        yield f"animated {mode}", encode_image(photo(mode), "WEBP", **frames)
    canvas = Image.new("RGBA", (WIDTH + 20, HEIGHT + 10))
    canvas.paste(photo(), (10, 4))
    yield (
        "animated, first frame smaller than the canvas",
        encode_image(
            canvas, "WEBP", save_all=True, append_images=[canvas.rotate(180)], lossless=True, minimize_size=True
        ),
    )


def avifs() -> Iterator[tuple[str, bytes]]:
    for mode, subsampling in product(("L", "RGB", "RGBA"), ("4:4:4", "4:2:0")):
        yield f"{mode} {subsampling}", encode_image(photo(mode), "AVIF", quality=90, subsampling=subsampling)
    for orientation in range(1, 9):
        yield f"orientation {orientation}", encode_image(photo(), "AVIF", quality=90, exif=exif(orientation))
    for name, profile in PROFILES.items():
        if name != "broken":  # the encoder rejects it
            yield f"profile {name}", encode_image(photo(), "AVIF", quality=95, subsampling="4:4:4", icc_profile=profile)
    yield "sequence", encode_image(photo(), "AVIF", quality=90, save_all=True, append_images=[photo().rotate(180)])


def bmps() -> Iterator[tuple[str, bytes]]:
    for mode in ("1", "L", "P", "RGB"):
        image = photo().convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else photo(mode)
        yield mode, encode_image(image, "BMP")
    for depth, masks in {
        16: [(0x7C00, 0x3E0, 0x1F, 0), (0xF800, 0x7E0, 0x1F, 0)],
        32: [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF, 0xFF00, 0xFF0000, 0), (0xFF0000, 0xFF00, 0xFF, 0xFF000000)],
    }.items():
        for mask in masks:
            for size in (40, 56, 108, 124):
                yield f"{depth} bits by {mask[0]:x} and {mask[3]:x} under {size} bytes", bmp(depth, mask, size)
    empty = bytearray(bmp(32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 124))
    empty[138 + 3 :: 4] = bytes(len(empty[138 + 3 :: 4]))
    yield "32 bits with an empty alpha channel", bytes(empty)
    yield "16 bits without masks", bmp(16, None, 40)
    yield "32 bits without masks", bmp(32, None, 40)
    yield "from the top", bmp(24, None, 40, from_top=True)
    yield "core header", bmp(24, None, 12)
    yield "run lengths of 8 bits", bmp_rle8()


def bmp(depth: int, masks: tuple[int, ...] | None, size: int, *, from_top: bool = False) -> bytes:
    """Return a BMP of `picture` whose pixels have these masks, under a header of `size` bytes."""
    kept = masks or ((0x7C00, 0x3E0, 0x1F, 0) if depth == 16 else (0xFF0000, 0xFF00, 0xFF, 0))
    words = np.zeros((HEIGHT, WIDTH), np.uint32)
    for channel, mask in zip(np.moveaxis(picture(), -1, 0), kept, strict=True):
        shift = (mask & -mask).bit_length() - 1 if mask else 0
        words |= (channel * (mask >> shift)).round().astype(np.uint32) << shift
    rows = words if from_top else words[::-1]
    pixels = b"".join(_bmp_row(row, depth) for row in rows)
    if size == 12:
        head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, depth)
    else:
        height = -HEIGHT if from_top else HEIGHT
        head = struct.pack("<IiiHHIIiiII", size, WIDTH, height, 1, depth, 3 if masks else 0, len(pixels), 0, 0, 0, 0)
        head += struct.pack("<4I", *kept)[: 16 if size > 52 else 12] if masks else b""
        head = head.ljust(size, b"\0") if size > 40 else head
    offset = 14 + len(head)
    return struct.pack("<2sIII", b"BM", offset + len(pixels), 0, offset) + head + pixels


def _bmp_row(row: NDArray[np.uint32], depth: int) -> bytes:
    little = row.astype("<u4").view(np.uint8).reshape(-1, 4)[:, : depth // 8].tobytes()
    return little + b"\0" * (-len(little) % 4)


def bmp_rle8() -> bytes:
    colors = b"".join(bytes([level, 255 - level, level // 2, 0]) for level in range(256))
    levels = (picture()[::-1, :, 0] * 255).round().astype(np.uint8)
    pixels = b"".join(b"".join(bytes([1, level]) for level in row) + b"\0\0" for row in levels) + b"\0\1"
    offset = 14 + 40 + len(colors)
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(pixels), 0, 0, 0, 0)
    return struct.pack("<2sIII", b"BM", offset + len(pixels), 0, offset) + head + colors + pixels


def files() -> Iterator[tuple[str, str, bytes]]:
    """Yield the format, a description and the bytes of each file."""
    kinds = {"JPEG": jpegs, "PNG": pngs, "GIF": gifs, "WEBP": webps, "AVIF": avifs, "BMP": bmps}
    for image_format, generate in kinds.items():
        for name, data in generate():
            yield image_format, name, data
