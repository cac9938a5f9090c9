"""Test the conversion from HTTP to a Lambda event and back, alone and through Mangum."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mangum import Mangum

from infra.emulator.event import DOMAIN, HttpRequest, main, to_event, to_payload
from infra.emulator.response import HttpResponse, MalformedResponse, to_response

pytestmark = pytest.mark.usefixtures("event_loop")
NOW = datetime(2021, 9, 7, 22, 50, 22, 677000, tzinfo=UTC)
JPEG = b"\xff\xd8\xff\xe0 not UTF-8"


def event(method: str = "GET", path: str = "/", **fields: Any) -> dict[str, Any]:
    return to_event(HttpRequest(method, path, **fields), request_id="id", now=NOW)


def post(content_type: str, body: bytes) -> dict[str, Any]:
    return event("POST", headers=(("Content-Type", content_type),), body=body)


def test_context_describes_request() -> None:
    """`requestContext` has every key that AWS documents, for a URL without authentication."""
    expected = {
        "accountId": "anonymous",
        "apiId": "local",
        "authentication": None,
        "authorizer": None,
        "domainName": "local.lambda-url.us-east-1.on.aws",
        "domainPrefix": "local",
        "http": {"method": "PUT", "path": "/a", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "curl"},
        "requestId": "id",
        "routeKey": "$default",
        "stage": "$default",
        "time": "07/Sep/2021:22:50:22 +0000",
        "timeEpoch": 1631055022677,
    }
    actual = event("PUT", "/a", headers=(("User-Agent", "curl"),), source_ip="192.0.2.7")["requestContext"]
    assert expected == actual


def test_empty_parts_are_omitted() -> None:
    """A plain GET has no cookies, no query parameters and no body."""
    expected = {"version", "routeKey", "rawPath", "rawQueryString", "headers", "requestContext", "isBase64Encoded"}
    assert expected == set(event())


def test_path_stays_percent_encoded() -> None:
    """`rawPath` and `http.path` are what the client sent, so an encoded slash is not a separator."""
    actual = event(path="/a%2Fb%20c")
    assert ("/a%2Fb%20c", "/a%2Fb%20c") == (actual["rawPath"], actual["requestContext"]["http"]["path"])


def test_repeated_query_keys_are_joined() -> None:
    """Values of one key are decoded and joined with commas; the raw string keeps them apart."""
    actual = event(query="a=1&a=x%20y&b=")
    assert ("a=1&a=x%20y&b=", {"a": "1,x y", "b": ""}) == (actual["rawQueryString"], actual["queryStringParameters"])


def test_repeated_headers_are_joined() -> None:
    """Header names are in lower case, and repeated ones become one with commas."""
    assert event(headers=(("Accept", "a"), ("ACCEPT", "b")))["headers"]["accept"] == "a,b"


def test_cookies_are_not_headers() -> None:
    """The event lists each cookie of all Cookie headers in `cookies`, and has no Cookie header."""
    actual = event(headers=(("Cookie", "a=1; b=2,3"), ("cookie", "c=4")))
    assert (["a=1", "b=2,3", "c=4"], False) == (actual["cookies"], "cookie" in actual["headers"])


def test_connection_headers_are_removed() -> None:
    """Headers that describe the client's connection do not reach the function."""
    actual = event(headers=(("Connection", "keep-alive"), ("Transfer-Encoding", "chunked")))["headers"]
    assert {"host", "x-forwarded-for", "x-forwarded-proto"} == set(actual)


def test_client_cannot_forge_address() -> None:
    """`x-forwarded-for` and `x-forwarded-proto` describe the connection, whatever the client sends."""
    forged = (("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-Proto", "gopher"))
    actual = event(headers=forged, source_ip="192.0.2.7", scheme="http")["headers"]
    assert ("192.0.2.7", "http") == (actual["x-forwarded-for"], actual["x-forwarded-proto"])


@pytest.mark.parametrize(
    "content_type",
    ["text/plain; charset=utf-8", "application/json", "application/xml", "Application/JSON;charset=utf-8"],
)
def test_text_body_is_text(content_type: str) -> None:
    """A body of a text type is text in the event."""
    actual = post(content_type, '{"a": "ü"}'.encode())
    assert ('{"a": "ü"}', False) == (actual["body"], actual["isBase64Encoded"])


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/jsonl"],
)
def test_other_body_is_base64(content_type: str) -> None:
    """A body of any other type is base64 in the event, even if it is ASCII."""
    actual = post(content_type, b"a=1")
    assert ("YT0x", True) == (actual["body"], actual["isBase64Encoded"])


def test_text_that_is_not_utf8_is_base64() -> None:
    """A text body that is not UTF-8 is base64 in the event."""
    actual = post("text/plain", JPEG)
    assert (base64.b64encode(JPEG).decode(), True) == (actual["body"], actual["isBase64Encoded"])


def test_json_without_status_is_body() -> None:
    """A payload without `statusCode` becomes a 200 with JSON, as on AWS.

    See https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html.
    """
    expected = HttpResponse(200, (("content-type", "application/json"),), b'"Hello, world!"')
    assert expected == to_response(b'"Hello, world!"')


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"Task timed out after 3.00 seconds", "expected JSON"),
        (b'"\xff"', "expected JSON"),
        (b'{"statusCode": "ok"}', "statusCode 'ok': expected an integer"),
        (b'{"statusCode": 100}', "statusCode 100: expected an integer"),
        (b'{"statusCode": 200, "headers": ["a"]}', "expected an object and a list"),
        (b'{"statusCode": 200, "headers": {"a": "x\\r\\nset-cookie: y"}}', "expected a name and text on one line"),
        (b'{"statusCode": 200, "headers": {"a b": "x"}}', "expected a name and text on one line"),
        (b'{"statusCode": 200, "body": {"a": 1}}', "expected text"),
        (b'{"statusCode": 200, "body": "?", "isBase64Encoded": true}', "expected text, or base64"),
    ],
)
def test_malformed_response_raises(payload: bytes, message: str) -> None:
    """A payload that cannot become an HTTP response raises an error with the expectation."""
    with pytest.raises(MalformedResponse) as error:
        to_response(payload)
    assert message in str(error.value)


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with the request: its line and headers in one header, the body and its type unchanged."""
    sent = {name.decode(): value.decode() for name, value in scope["headers"]}
    request = [scope["method"], scope["path"], scope["query_string"].decode(), sent]
    headers = [(b"x-request", json.dumps(request).encode()), (b"content-type", sent["content-type"].encode())]
    headers += [(b"set-cookie", cookie.encode()) for cookie in sent.get("cookie", "").split("; ") if cookie]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": (await receive())["body"]})


text = st.text(st.characters(exclude_categories=["Cs"]))
tokens = st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True)
header_values = st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True)
header_lists = st.lists(
    st.tuples(tokens.map("x-{}".format).filter(lambda name: "forwarded" not in name), header_values)
)


@pytest.mark.slow
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    path=text.map("/{}".format),
    query=st.lists(st.tuples(text, text)),
    headers=header_lists,
    cookies=st.lists(st.tuples(tokens, tokens)),
    content_type=st.sampled_from(["text/plain", "application/json", "image/jpeg", "multipart/form-data; boundary=x"]),
    body=st.binary() | text.map(str.encode),
)
def test_round_trip_through_mangum(
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    cookies: list[tuple[str, str]],
    content_type: str,
    body: bytes,
) -> None:
    """An app behind Mangum sees every request unchanged, and its response comes back unchanged."""
    cookie_list = [f"{name}={value}" for name, value in cookies]
    all_headers = [*headers, ("Content-Type", content_type), ("Cookie", "; ".join(cookie_list))]
    request = HttpRequest(method, quote(path), urlencode(query), tuple(all_headers), body)
    payload = to_payload(to_event(request, request_id="id", now=NOW))
    returned = Mangum(echo, lifespan="off")(json.loads(payload), None)  # type: ignore[arg-type]  # the context is unused
    response = to_response(json.dumps(returned).encode())

    expected_headers = {"host": DOMAIN, "content-type": content_type}
    expected_headers |= {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https"}
    expected_headers |= {"cookie": "; ".join(cookie_list)} if cookies else {}
    for name in {name.lower() for name, _ in headers}:
        expected_headers[name] = ",".join(value for key, value in headers if key.lower() == name)
    assert [method, path, urlencode(query), expected_headers] == json.loads(dict(response.headers)["x-request"])
    assert cookie_list == [value for name, value in response.headers if name == "set-cookie"]
    assert (200, content_type, body) == (response.status, dict(response.headers)["content-type"], response.body)


def test_command_prints_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the event of `POST /predict` with the photo as raw body, for `sam local invoke -e`."""
    (tmp_path / "cat.jpg").write_bytes(JPEG)
    assert main([str(tmp_path / "cat.jpg")]) == 0
    actual = json.loads(capsys.readouterr().out)
    assert ("/predict", "image/jpeg") == (actual["rawPath"], actual["headers"]["content-type"])
    assert base64.b64decode(actual["body"]) == JPEG


def test_command_names_missing_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A photo that cannot be read exits with 2 and one line on standard error."""
    photo = tmp_path / "nope.jpg"
    assert main([str(photo)]) == 2
    assert f"{photo}: No such file or directory; expected a photo\n" == capsys.readouterr().err
