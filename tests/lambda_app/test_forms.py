"""Every way in which clients write a form, on the tiny model: red photos are cats, blue ones dogs."""

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
def test_a_preamble_is_ignored(client, encode, preamble):
    """RFC 2046: what precedes the first boundary is not part of the form."""
    assert "cat" == post(client, preamble + form(encode("red"), NAMED, IMAGE)).json()["predicted_class"]


@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"the end", bytes(range(256)), b"\r\n--XbX\r\n", b"\r\n--XbX--"])
def test_an_epilogue_is_ignored(client, encode, epilogue):
    """RFC 2046: what follows the last boundary is not part of the form."""
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
        pytest.param(["content-disposition:form-data;name=file;filename=a.jpg"], id="no blanks"),
        pytest.param(['Content-Disposition: form-data; filename="; name=x; \\".jpg"; name="file"'], id="quotes"),
        pytest.param(["Content-Length: 5", NAMED, "Content-Transfer-Encoding: Binary"], id="binary"),
    ],
)
def test_a_files_headers_are_read_in_every_spelling(client, encode, headers):
    """A file name is optional where the content type or the bytes show that the part is a photo."""
    assert "cat" == post(client, form(encode("red"), *headers)).json()["predicted_class"]


@pytest.mark.parametrize("boundary", ["a", "x" * 70, "'()+_,-./:=?", "two words", "----WebKitFormBoundaryAbC0123"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_boundary_may_have_every_legal_character(client, encode, boundary, path):
    """RFC 2046, section 5.1.1, lists the characters; most of them need quotes."""
    body = form(encode("blue"), NAMED, boundary=boundary)
    answer = post(client, body, f'Multipart/Form-Data; charset=utf-8; Boundary="{boundary}"', path).json()
    assert "dog" == (answer if path == "/predict" else answer[0])["predicted_class"]


def test_blanks_behind_a_boundary_are_ignored(client, encode):
    """RFC 2046 allows them as transport padding."""
    body = form(encode("red"), NAMED).replace(b"--XbX\r\n", b"--XbX \t\r\n")
    assert "cat" == post(client, body).json()["predicted_class"]


def test_a_part_in_base64_is_decoded(client, encode):
    """Mail clients send base64 in lines."""
    body = form(base64.encodebytes(encode("red")), NAMED, "Content-Transfer-Encoding: BASE64")
    assert "cat" == post(client, body).json()["predicted_class"]


@pytest.mark.parametrize(
    ("encoding", "status", "code", "message"),
    [
        ("quoted-printable", 415, "unsupported_media_type", "'quoted-printable'; expected binary or base64"),
        ("base64", 400, "bad_request", "expected base64"),
    ],
)
def test_another_transfer_encoding_is_named(client, encode, encoding, status, code, message):
    """The error names the encoding and the expected ones."""
    body = form(encode("red"), NAMED, f"Content-Transfer-Encoding: {encoding}")
    assert_error(post(client, body), status, code, message)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_text_field_is_told_to_be_a_file(client, path):
    """`curl -F file=cat.jpg`, without the @, sends the name as text."""
    message = "the part 'file' is text without a file name; send the photo as a file, e.g. curl -F file=@cat.jpg"
    assert_error(post(client, form(b"cat.jpg", NAMELESS), path=path), 400, "no_file", message)


def test_a_form_without_the_file_names_its_fields(client):
    """The error lists the fields that the form has."""
    message = "no file named 'file' (its fields: photo); send curl -F file=@cat.jpg"
    assert_error(post(client, form(b"x", NAMED.replace('"file"', '"photo"'))), 400, "no_file", message)


def test_a_form_without_a_boundary_is_told_why(client, encode):
    """A content type that is set by hand often lacks the boundary."""
    answer = post(client, form(encode("red"), NAMED), "multipart/form-data")
    assert_error(answer, 400, "bad_request", "has no boundary; let the client set it")


def test_a_form_with_endless_headers_is_refused(client):
    """The error comes as soon as the headers exceed the limit."""
    assert_error(post(client, b"--XbX\r\nX: " + bytes(17_000)), 400, "bad_request", "over 16384 bytes")


def test_a_form_with_many_fields_is_refused(client, encode):
    """The number of fields is limited, because each takes memory."""
    fields = part(b"x", 'Content-Disposition: form-data; name="x"') * 11
    assert_error(post(client, fields + form(encode("red"), NAMED)), 400, "bad_request", "over 10 fields")


CONTENT = st.binary(max_size=40).map(lambda data: data.replace(b"XbX", b"")) | st.sampled_from(
    [b"", b"\r\n--Xb", b"\r\n--XbXY", b"\r\n-", b"\r", b"--XbY--\r\n"]
)


@given(st.lists(CONTENT, max_size=4), st.integers(1, 30), CONTENT, CONTENT)
def test_chunks_do_not_change_a_form(contents, size, preamble, epilogue):
    """Each part has the same bytes, however the body is split into chunks."""
    body = preamble + b"\r\n" + b"".join(part(data, NAMED) for data in contents) + b"--XbX--" + epilogue
    parser = FormParser(FORM, "file")
    parts = [each for place in range(0, len(body), size) for each in parser.feed(body[place : place + size])]
    assert (True, contents) == (parser.has_ended, [each.data() for each in parts])


@given(st.binary(max_size=200), st.integers(1, 30))
def test_arbitrary_bytes_are_a_form_or_an_error(data, size):
    """The parser raises `MalformedRequest` alone, and returns no bytes that the body does not have."""
    body = b"--XbX" + data
    parser = FormParser(FORM, "file")
    parts = []
    try:
        for place in range(0, len(body), size):
            parts += parser.feed(body[place : place + size])
    except MalformedRequest:
        return
    assert sum(len(each.data()) for each in parts) <= len(body)


@pytest.mark.parametrize("quotes", [b'"', b'"' + b'\\"' * 5000])
def test_form_quote_that_is_never_closed_reaches_to_the_end(quotes):
    """What looks like a file name in it is none. A search from each quote to the end would take quadratic time."""
    part = parse_headers(b"Content-Disposition: form-data; name=file; a=" + quotes + b"; filename*=x")
    assert ("file", False) == (part.name, part.has_file_name)
