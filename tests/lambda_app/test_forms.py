"""Check the variants of forms that clients send. The tiny model classifies red as cat and blue as dog."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.errors import MalformedRequest
from lambda_app.uploads.form import FormParser, parse_headers
from tests.support.uploads import FORM, IMAGE, NAMED, NAMELESS, assert_error, form, part, post


@pytest.mark.parametrize(
    "preamble",
    [
        b"Content-Type: multipart/form-data\r\nMIME-Version: 1.0\r\n\r\n",
        b"\r\n",
        b"\n\n",
        b"lines that end\nwith LF\n",
        b"--Xb\r\n--XbX-like\r\n-- \r\n",
        b"--\r\n",
        bytes(range(256)) * 16 + b"\r\n",
    ],
)
def test_preamble_is_ignored(client, encode, preamble):
    """Text before the first boundary is not part of the form: RFC 2046."""
    assert "cat" == post(client, preamble + form(encode("red"), NAMED, IMAGE)).json()["predicted_class"]


@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"the end", bytes(range(256)), b"\r\n--XbX\r\n", b"\r\n--XbX--"])
def test_epilogue_is_ignored(client, encode, epilogue):
    """Text after the last boundary is not part of the form: RFC 2046."""
    body = form(encode("red"), NAMED, IMAGE).removesuffix(b"\r\n") + epilogue
    assert "cat" == post(client, body).json()["predicted_class"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([NAMED, IMAGE], id="curl"),
        pytest.param([NAMED], id="no content type"),
        pytest.param([f"{NAMELESS}; filename*=UTF-8''%E3%83%95.jpg", IMAGE], id="RFC 5987"),
        pytest.param([f"{NAMELESS}; filename*0=a; filename*1=.jpg"], id="RFC 2231"),
        pytest.param([NAMELESS, IMAGE], id="an image type without a file name"),
        pytest.param([NAMELESS], id="bytes without a file name"),
        pytest.param([NAMELESS, "Content-Type: application/octet-stream"], id="octets without a file name"),
        pytest.param([IMAGE.upper(), NAMED.replace("Content-Disposition", "CONTENT-disposition")], id="case"),
        pytest.param(["Content-Disposition: form-data;\r\n name=file;\r\n\tfilename=a.jpg", IMAGE], id="folded lines"),
        pytest.param(["content-disposition:form-data;name=file;filename=a.jpg"], id="no spaces"),
        pytest.param(["Content-Disposition: form-data; name=file"], id="no quotes and no file name"),
        pytest.param(
            ["Content-Disposition: form-data; name=file; \r\n\tfilename*=UTF-8''%E3%83%95.jpg", IMAGE],
            id="Jakarta Mail",
        ),
        pytest.param(
            [IMAGE, "Content-Disposition: form-data; name=file; filename=a.jpg; filename*=utf-8''a.jpg"], id=".NET"
        ),
        pytest.param(['Content-Disposition: form-data; filename="; name=x; \\".jpg"; name="file"'], id="quotes"),
        pytest.param(["Content-Length: 5", NAMED, "Content-Transfer-Encoding: Binary"], id="binary"),
    ],
)
def test_part_headers_are_read_in_every_variant(client, encode, headers):
    """A file name is optional if the content type or the bytes show that the part is a photo."""
    assert "cat" == post(client, form(encode("red"), *headers)).json()["predicted_class"]


@pytest.mark.parametrize("boundary", ["a", "x" * 70, "'()+_,-./:=?", "two words", "----WebKitFormBoundaryAbC0123"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_boundary_may_have_any_legal_character(client, encode, boundary, path):
    """RFC 2046, section 5.1.1, lists the characters; most of them need quotes."""
    body = form(encode("blue"), NAMED, boundary=boundary)
    response = post(client, body, f'Multipart/Form-Data; charset=utf-8; Boundary="{boundary}"', path).json()
    assert "dog" == (response if path == "/predict" else response[0])["predicted_class"]


def test_whitespace_after_a_boundary_is_ignored(client, encode):
    """RFC 2046 allows whitespace as transport padding."""
    body = form(encode("red"), NAMED).replace(b"--XbX\r\n", b"--XbX \t\r\n")
    assert "cat" == post(client, body).json()["predicted_class"]


def test_part_in_base64_is_decoded(client, encode):
    """A part in lines of base64, as mail clients send it, is decoded."""
    body = form(base64.encodebytes(encode("red")), NAMED, "Content-Transfer-Encoding: BASE64")
    assert "cat" == post(client, body).json()["predicted_class"]


@pytest.mark.parametrize(
    ("encoding", "status", "code", "message"),
    [
        ("quoted-printable", 415, "unsupported_media_type", "'quoted-printable'; expected binary or base64"),
        ("base64", 400, "bad_request", "expected base64"),
    ],
)
def test_other_transfer_encoding_is_rejected(client, encode, encoding, status, code, message):
    """The error message states the encoding and the expected ones."""
    body = form(encode("red"), NAMED, f"Content-Transfer-Encoding: {encoding}")
    assert_error(post(client, body), status, code, message)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_text_field_is_not_a_photo(client, path):
    """`curl -F file=cat.jpg`, without the @, sends the name as text."""
    message = "the part 'file' is text without a file name; send the photo as a file, e.g. curl -F file=@cat.jpg"
    assert_error(post(client, form(b"cat.jpg", NAMELESS), path=path), 400, "no_file", message)


def test_form_without_a_file_is_rejected(client):
    """The error message lists the form's fields."""
    message = "no file named 'file' (its fields: photo); send curl -F file=@cat.jpg"
    assert_error(post(client, form(b"x", NAMED.replace('"file"', '"photo"'))), 400, "no_file", message)


def test_form_without_a_boundary_is_rejected(client, encode):
    """A content type that is set by hand often lacks the boundary."""
    response = post(client, form(encode("red"), NAMED), "multipart/form-data")
    assert_error(response, 400, "bad_request", "has no boundary; let the client set it")


def test_form_with_long_headers_is_rejected(client):
    """The parser raises the error as soon as the headers exceed the limit."""
    assert_error(post(client, b"--XbX\r\nX: " + bytes(17_000)), 400, "bad_request", "over 16384 bytes")


def test_form_with_many_fields_is_rejected(client, encode):
    """The number of fields is limited, because each takes memory."""
    fields = part(b"x", 'Content-Disposition: form-data; name="x"') * 11
    assert_error(post(client, fields + form(encode("red"), NAMED)), 400, "bad_request", "over 10 fields")


CONTENT = st.binary(max_size=40).map(lambda data: data.replace(b"XbX", b"")) | st.sampled_from(
    [b"", b"\r\n--Xb", b"\r\n--XbXY", b"\r\n-", b"\r", b"--XbY--\r\n"]
)


@given(st.lists(CONTENT, max_size=4), st.integers(1, 30), CONTENT, CONTENT)
def test_chunk_size_does_not_change_the_parts(contents, size, preamble, epilogue):
    """Each part has the same bytes for any size of the chunks."""
    body = preamble + b"\r\n" + b"".join(part(data, NAMED) for data in contents) + b"--XbX--" + epilogue
    parser = FormParser(FORM, {"file"})
    parts = [part for start in range(0, len(body), size) for part in parser.feed(body[start : start + size])]
    assert (True, contents) == (parser.has_ended, [part.data() for part in parts])


@given(st.binary(max_size=200), st.integers(1, 30))
def test_arbitrary_bytes_are_parsed_or_rejected(data, size):
    """The parser raises only `MalformedRequest`, and returns no more bytes than the body has."""
    body = b"--XbX" + data
    parser = FormParser(FORM, {"file"})
    parts = []
    try:
        for start in range(0, len(body), size):
            parts += parser.feed(body[start : start + size])
    except MalformedRequest:
        return
    assert sum(len(part.data()) for part in parts) <= len(body)


@pytest.mark.parametrize("quotes", [b'"', b'"' + b'\\"' * 5000])
def test_unclosed_quote_extends_to_the_end(quotes):
    """A file name inside the quote is ignored. Searching from each quote to the end would take quadratic time."""
    part = parse_headers(b"Content-Disposition: form-data; name=file; a=" + quotes + b"; filename*=x")
    assert ("file", False) == (part.name, part.has_file_name)
