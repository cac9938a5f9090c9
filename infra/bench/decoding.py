"""Measure the CPU time and memory of decoding the largest files of every format, and hostile ones.

The command writes artifacts/decoding.json and prints the table. It exits with 1 if an accepted file exceeds the limits
of a request or the bound computed from its header, or if rejecting a file takes too long. It takes three minutes; other
work on the machine barely changes CPU time.
"""

import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from infra import ROOT
from infra.bench.hardware import cite, identify, run_pinned
from infra.bench.photos import encode
from infra.markdown import table

FIGURES, COLORS = ROOT / "artifacts/decoding.json", ROOT / "artifacts/color.json"
PROGRAM = ROOT / "infra/bench/programs/decode.py"
MAX_SECONDS, MAX_MB, MAX_REFUSED_SECONDS = 2.0, 500, 0.1
SIDE = 5000  # 25 megapixels, the limit of the function


def draw_picture(mode: str, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Return a smooth, slightly noisy image: many pixels in a file small enough for a request."""
    small = Image.merge(
        "RGB", [Image.effect_noise((size[0] // 50 + 1, size[1] // 50 + 1), spread) for spread in (40, 60, 80)]
    )
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def large_files() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of valid files of 25 megapixels, in every format and its slow variants."""
    color = draw_picture("RGB")
    for name, options in {
        "baseline 4:2:0": {"subsampling": 2},
        "baseline 4:4:4": {"subsampling": 0},
        "progressive 4:2:0": {"subsampling": 2, "progressive": True},
        "progressive 4:4:4": {"subsampling": 0, "progressive": True},
    }.items():
        yield f"JPEG {name}", encode(color, "JPEG", quality=80, **options)
    yield "JPEG progressive CMYK", encode(color.convert("CMYK"), "JPEG", quality=60, progressive=True)
    yield "JPEG 32767 x 760", encode(draw_picture("RGB", (32_767, 760)), "JPEG", quality=80, progressive=True)
    yield "JPEG without its end", encode(color, "JPEG", quality=60)[:-2]
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        image = draw_picture(mode)
        yield f"PNG {mode}", encode(image if mode == "1" else image.quantize(16).convert(mode), "PNG")
    yield "PNG 16-bit RGB", make_flat_png(2, 16)
    yield "PNG 16-bit RGBA", make_flat_png(6, 16)
    yield "PNG 16-bit gray with a transparent color", make_flat_png(0, 16, (b"tRNS", b"\0\1"))
    yield "PNG 760 x 32767", encode(draw_picture("L", (760, 32_767)), "PNG")
    yield "GIF", encode(draw_picture("P"), "GIF")
    yield "BMP of 1 bit", encode(draw_picture("1"), "BMP")
    yield "BMP with run lengths", make_run_length_bmp(3100)
    yield "WebP lossy", encode(color, "WEBP", quality=50, method=0)
    yield "WebP lossless", encode(color.quantize(16).convert("RGB"), "WEBP", lossless=True, quality=0, method=0)
    yield "WebP with alpha", encode(color.convert("RGBA"), "WEBP", quality=50, method=0)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd", "jpeg"):
        yield f"TIFF {compression}", encode(color.quantize(16).convert("RGB"), "TIFF", compression=compression)
    yield "TIFF CMYK", encode(color.quantize(16).convert("CMYK"), "TIFF", compression="tiff_lzw")
    yield "AVIF", encode(color, "AVIF", quality=50, speed=10)
    yield "AVIF with alpha", encode(color.convert("RGBA"), "AVIF", quality=50, speed=10)


def make_flat_png(color_type: int, depth: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of a single color with `SIDE` pixels per side and optional extra chunks."""
    channels = {0: 1, 2: 3, 6: 4}[color_type]
    rows = zlib.compress((b"\4" + b"\x20\x40" * (SIDE * channels * depth // 16)) * SIDE, 1)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, color_type, 0, 0, 0)
    body = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in body)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk with its checksum."""
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content))


def make_run_length_bmp(side: int) -> bytes:
    """Return a BMP file of a single color with run-length encoding (BI_RLE8)."""
    row = b"\xff\7" * (side // 255) + bytes([side % 255, 7]) + b"\0\0"
    pixels = row * side + b"\0\1"
    colors = bytes(range(256)) * 4
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(pixels), 0, 0, 0, 0)
    return struct.pack("<2sIII", b"BM", 54 + 1024 + len(pixels), 0, 54 + 1024) + head + colors + pixels


def hostile_files() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of small files that are crafted to cost a decoder much time or memory."""
    plain = encode(draw_picture("RGB", (64, 64)), "JPEG")
    progressive = encode(draw_picture("RGB", (64, 64)), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    yield "JPEG of 220,000 EXIF segments", plain[:2] + b"\xff\xe1\0\x0aExif\0\0II" * 220_000 + plain[2:]
    yield "JPEG of 1,000 scans", progressive[:last] + progressive[last:-2] * 1000 + progressive[-2:]
    png = make_flat_png(0, 8)
    header = struct.pack(">II", 1, 25_000_000) + png[24:29]  # replaces width and height
    yield "PNG of 1 x 25,000,000", png[:8] + png_chunk(b"IHDR", header) + png[33:]
    profile = png_chunk(b"iCCP", b"n\0\0" + zlib.compress(bytes(500_000), 9))
    small = encode(draw_picture("RGB", (64, 64)), "PNG")
    yield "PNG of 4,000 profiles", small[:33] + profile * 4000 + small[33:]
    yield "PNG of 350,000 empty chunks", small[:33] + png_chunk(b"IDAT", b"") * 350_000 + small[33:]
    yield "BMP with run lengths of 5000 x 5000", make_run_length_bmp(SIDE)
    yield "WebP of 5000 x 5000", b"RIFF\x14\0\0\0WEBPVP8L\x08\0\0\0/\x87\xd3\xe1\x04\0\0\0"
    gif = encode(draw_picture("P", (64, 64)), "GIF")
    start = gif.index(b"," + bytes(4), 13)
    yield "GIF with a comment of 2,000,000 blocks", gif[:start] + b"!\xfe" + b"\1c" * 2_000_000 + b"\0" + gif[start:]
    yield "WebP animation of 13000 x 13000 on 1 x 1", make_animated_webp(13_000)
    yield "HEIC of 100,000 boxes", make_nested_heic()
    yield from hostile_tiffs()


def hostile_tiffs() -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of TIFF files whose tags have millions of values."""
    tiff = encode(draw_picture("L", (64, 64)), "TIFF")
    offset = tiff.index(b"\x02\1\3\0", int.from_bytes(tiff[4:8], "little"))
    samples = tiff[: offset + 2] + struct.pack("<HII", 1, 4_000_000, 8) + tiff[offset + 12 :]
    yield "TIFF of 4,000,000 values of a tag", samples + bytes(4_000_000)
    directory = int.from_bytes(tiff[4:8], "little")
    offset = tiff.index(b"\x11\1\4\0", directory)
    many = tiff[: offset + 4] + struct.pack("<II", 1_000_000, len(tiff)) + tiff[offset + 12 :]
    yield "TIFF of 1,000,000 strips", many + bytes(4_000_000)


def make_animated_webp(side: int) -> bytes:
    """Return an animation with one frame of a single color (VP8L) that is larger than its canvas."""
    bits = (side - 1) | (side - 1) << 14
    lossless = riff_chunk(b"VP8L", b"/" + bits.to_bytes(4, "little") + bytes.fromhex("07105011111111fe07"))
    size = (side - 1).to_bytes(3, "little")
    frame = riff_chunk(b"ANMF", bytes(6) + 2 * size + bytes(4) + lossless)
    body = riff_chunk(b"VP8X", b"\2" + bytes(9)) + riff_chunk(b"ANIM", bytes(6)) + frame
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of RIFF, padded to an even length."""
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def make_nested_heic() -> bytes:
    """Return a HEIC file of deeply nested boxes, which a recursive reader would parse for seconds."""
    content = (struct.pack(">I4s", 4_990 * 8 + 8, b"ipco") + struct.pack(">I4s", 8, b"free") * 4_990) * 20
    for _ in range(800):
        content = struct.pack(">I4s", len(content) + 8, b"iprp") + content
    meta = struct.pack(">I4s4x", len(content) + 12, b"meta") + content
    return struct.pack(">I4s4s4x", 16, b"ftyp", b"heic") + meta


def measure() -> dict[str, Any]:
    """Decode each file in a process of its own, and return CPU seconds and memory."""
    source = identify()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, data in chain(large_files(), hostile_files()):
            path = Path(folder) / "photo"
            path.write_bytes(data)
            rows.append({"name": name, "kb": len(data) / 1000, **run_pinned(PROGRAM, str(path))})
            print(f"{name}: {rows[-1]['seconds']:.2f} s, {rows[-1]['mb']:.0f} MB", file=sys.stderr)
    return {**source, "rows": rows}


def describe_violations(figures: dict[str, Any]) -> str:
    """Return all exceeded limits, each after the name of its file."""
    return "; ".join(f"{row['name']}: {found}" for row in figures["rows"] for found in find_violations(row))


def find_violations(row: dict[str, Any]) -> list[str]:
    """Return the limits that a file exceeds."""
    if "refused" in row:
        return [f"refused after {row['seconds']:.2f} s"] if row["seconds"] > MAX_REFUSED_SECONDS else []
    limits = [("seconds", MAX_SECONDS, "s"), ("mb", MAX_MB, "MB")]
    violations = [f"{row[name]:.2f} {unit} of {limit}" for name, limit, unit in limits if row[name] > limit]
    violations += [
        f"{row[name]:.2f} {unit}, expected {row[bound]:.2f}"
        for name, bound, unit in (("seconds", "bound_s", "s"), ("mb", "bound_mb", "MB"))
        if row[name] > row[bound] + (0.05 if unit == "s" else 10)
    ]
    return violations


def render(figures: dict[str, Any]) -> str:
    """Return the table of the cost by file, and whether the limits are met."""
    head = ("file", "kB", "CPU s", "bound s", "MB", "bound MB", "status")
    rows = [
        (
            row["name"],
            f"{row['kb']:,.0f}",
            f"{row['seconds']:.2f}",
            f"{row['bound_s']:.2f}" if "bound_s" in row else "",
            f"{row['mb']:.0f}",
            f"{row['bound_mb']:.0f}" if "bound_mb" in row else "",
            row.get("refused", "200")[:3],
        )
        for row in figures["rows"]
    ]
    violations = describe_violations(figures)
    verdict = f"**missed** ({violations})" if violations else "met"
    return f"{table(head, rows)}\n\nLimits: {verdict}.\n\nMeasured {cite(figures)}"


def render_colors(scores: list[dict[str, Any]]) -> str:
    """Return the table of what `python -m export.experiments.color_profiles` measured."""
    head = ("color space", "photos", "accuracy, converted", "as stored", "probability, converted", "as stored")
    kinds = ("converted", "as stored")
    return table(
        head,
        [
            (
                score["space"],
                str(score["photos"]),
                *(f"{100 * score['accuracy'][kind]:.2f} %" for kind in kinds),
                *(f"{score['probability'][kind]:.4f}" for kind in kinds),
            )
            for score in scores
        ],
    )


def main() -> None:
    figures = measure()
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")
    print(render(figures))
    sys.exit(bool(describe_violations(figures)))


if __name__ == "__main__":
    main()
