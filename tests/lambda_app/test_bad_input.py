"""Test invalid requests: each has its status and code in one shape, and the next valid request succeeds."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from infra.bench.decoding import png_chunk
from lambda_app.app import create_app
from lambda_app.settings import Settings
from tests.support.uploads import FORM, IMAGE, NAMED, NAMELESS, assert_error, form, part, post, unread_body

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
E_ACUTE, SURROGATE = (NAMED.replace('"file"', f'"{name}"') for name in ("\u00e9", "+2AA-"))


def png_bomb(width=20_000, height=20_000) -> bytes:
    """Return a PNG of 400 megapixels in 1.3 kB, with valid checksums."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def tile_bomb(side=4000) -> bytes:
    """Return a TIFF of 1 x 1 pixels in one deflated tile of 16 megapixels."""
    tile = zlib.compress(bytes(side * side), 9)
    short, long = 3, 4
    entries = [(256, long, 1), (257, long, 1), (258, short, 8), (259, short, 8), (262, short, 1), (277, short, 1)]
    entries += [(322, long, side), (323, long, side), (324, long, 8), (325, long, len(tile))]
    body = tile + bytes(len(tile) % 2)
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(entries)) + directory + bytes(4)
    )


def case(name, status, code, body, content_type="image/jpeg"):
    return pytest.param(status, code, body, content_type, id=name)


BAD = [
    case("empty body", 400, "no_file", b""),
    case("empty file", 400, "no_file", form(b"", NAMED), FORM),
    case("empty form", 400, "no_file", b"--XbX--\r\n", FORM),
    case("wrong boundary", 400, "bad_request", form(b"x", NAMED), "multipart/form-data; boundary=c"),
    case("unfinished form", 400, "bad_request", form(b"x", NAMED)[:-11], FORM),
    case("part without a name", 400, "bad_request", form(b"x", "X: y"), FORM),
    case("a codec that raises", 400, "no_file", form(b"x", E_ACUTE), f"{FORM}; charset=punycode"),
    case("a codec that makes surrogates", 400, "no_file", form(b"x", SURROGATE), f"{FORM}; charset=utf-7"),
    case(
        "two photos without file names",
        400,
        "bad_request",
        part(b"x", NAMELESS, IMAGE) + form(b"y", NAMELESS, IMAGE),
        FORM,
    ),
    case("two files", 400, "bad_request", part(b"x", NAMED) + form(b"y", NAMED), FORM),
    case("too many bytes in the form", 413, "too_large", form(bytes(100_001), NAMED), FORM),
    case("a far too big form", 413, "too_large", form(bytes(200_000), NAMED), FORM),
    case("decompression bomb", 413, "too_large", png_bomb()),
    case("tile bomb", 413, "too_large", tile_bomb()),
    case("signature alone", 422, "damaged_image", b"\x89PNG\r\n\x1a\n"),
    case("text", 415, "unsupported_image", b"just text"),
    case("SVG", 415, "unsupported_image", SVG, "image/svg+xml"),
    case("PDF", 415, "unsupported_image", b"%PDF-1.7\n"),
]


@pytest.mark.parametrize(("status", "code", "body", "content_type"), BAD)
def test_bad_input_has_a_specific_error(client, encode, status, code, body, content_type):
    """The error has the right status and code, and the instance still works."""
    assert_error(post(client, body, content_type), status, code)
    assert "cat" == post(client, encode("red"), "image/jpeg").json()["predicted_class"]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_photo_gives_no_server_error(client, encode, image_format):
    """A photo cut anywhere is 200 if no pixel is missing, else 415 or 422."""
    data = encode("red", (150, 100), image_format)
    for length in range(1, len(data), max(1, len(data) // 40)):
        assert post(client, data[:length], "image/jpeg").status_code in {200, 415, 422}


@pytest.mark.parametrize("announced", ["100001", "9" * 5000])
def test_announced_length_over_the_limit_is_refused_unread(client, announced):
    """The server does not read a body that it will refuse."""
    answer = post(client, unread_body(), "image/jpeg", **{"content-length": announced})
    assert_error(answer, 413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/predict", 405, "method_not_allowed"),
        ("DELETE", "/", 405, "method_not_allowed"),
    ],
)
def test_wrong_paths_and_methods_have_the_shape_of_errors(client, method, path, status, code):
    """The framework's own errors never appear."""
    assert_error(client.request(method, path), status, code)


def test_wrong_method_has_allow(client):
    """`Allow` lists all methods of the path (RFC 9110), although each belongs to a route of its own."""
    assert "POST" == client.get("/predict").headers["allow"]
    assert "GET, HEAD, POST" == client.delete("/").headers["allow"]


def test_validation_error_has_the_shape_of_errors(tiny_classifier):
    """An error of FastAPI's validation names the field."""
    app = create_app(tiny_classifier, Settings())
    app.get("/square")(lambda side: side * side)
    answer = TestClient(app).get("/square")
    assert_error(answer, 422, "bad_field", "query.side")


def test_internal_error_has_no_internals(logged, encode, monkeypatch):
    """The 500 response refers to the log, which has the stack trace under the same request id."""

    def explode(*_):
        raise RuntimeError(" ".join(["secret", "detail"]))  # noqa: FLY002  # the stack quotes this line, and may

    monkeypatch.setattr("lambda_app.inference.read_header", explode)
    answer = post(logged.client, encode(), "image/jpeg")
    assert_error(answer, 500, "internal_error")
    assert "secret detail" not in answer.text
    [line] = [line for line in logged.lines() if "stack" in line]
    assert ("unexpected error", "RuntimeError") == (line["message"], line["error"])
    assert "in explode" in line["stack"]
    assert "secret detail" not in str(line)
    assert answer.json()["error"]["request_id"] == line["request_id"]


SIGNATURES = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF\x24\0\0\0WEBP"]


PARAMETERS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
CODECS = st.sampled_from(
    ["utf-8", "utf-7", "idna", "punycode", "undefined", "unicode_escape", "rot13", "zlib", "\u00e9"]
)


@pytest.mark.slow
@given(st.binary(max_size=60), st.binary(max_size=200), CODECS, PARAMETERS)
@settings(max_examples=300)
def test_arbitrary_forms_give_no_server_error(long_lived_client, name, data, codec, parameters):
    """Any part name, bytes, encoding and content type parameters give 4xx."""
    head = b'--XbX\r\nContent-Disposition: form-data; name="' + name + b'"; filename="x"\r\n\r\n'
    body = head + data + b"\r\n--XbX--\r\n"
    headers = {"content-type": f"{FORM}; charset={codec}; {parameters}".encode("latin-1")}
    answer = long_lived_client.post("/predict", content=body, headers=headers)
    assert 400 <= answer.status_code < 500
    assert {"code", "message", "request_id"} == set(answer.json()["error"])


@pytest.mark.slow
@given(st.sampled_from(SIGNATURES), st.binary(max_size=400), st.sampled_from(["image/jpeg", FORM, "text/plain"]))
@settings(max_examples=300)
def test_arbitrary_bytes_give_no_server_error(long_lived_client, signature, data, content_type):
    """Any bytes after any signature give 200 or 4xx."""
    assert post(long_lived_client, signature + data, content_type).status_code < 500


@pytest.mark.slow
@given(
    st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
)
@settings(max_examples=300)
def test_flipped_bytes_give_no_server_error(long_lived_client, encode, image_format, flips):
    """Damage inside a real file reaches deeper into the decoders than random bytes do."""
    data = bytearray(encode("red", (40, 30), image_format))
    for place, value in flips:
        data[int(place * len(data))] = value
    assert post(long_lived_client, bytes(data), "image/jpeg").status_code < 500
