"""Test HEAD, `Allow`, and the headers of every response."""

import http.client
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.routes import ROUTES
from tests.support.waiting import DEADLINE_S

GET = [name.removeprefix("GET ").format(name="pet-classifier") for name in ROUTES if name.startswith("GET")]
POST_ONLY = ["/predict", "/predict/batch", "/feedback", "/v2/models/pet-classifier/infer"]
CHANGING = {"date", "x-request-id"}


def headers_of(answer):
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() not in CHANGING}


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("path", [*GET, "/v2/models/pet-classifier/versions/2026.01.01-tiny"])
def test_head_equals_get_without_the_body(client, path, accept):
    """HEAD has the status and headers of GET, with the length of GET's body (RFC 9110, section 9.3.2)."""
    get, head = (client.request(method, path, headers={"accept": accept}) for method in ("GET", "HEAD"))
    assert (200, headers_of(get), b"") == (head.status_code, headers_of(head), head.content)
    assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("path", ["/nowhere", "/v2/models/other", "/v2/nowhere", *POST_ONLY])
def test_head_has_errors_without_a_body(client, path):
    """HEAD has the status and the header names of GET's error, and no body."""
    get, head = (client.request(method, path) for method in ("GET", "HEAD"))
    assert (get.status_code, b"") == (head.status_code, head.content)
    assert set(headers_of(get)) == set(headers_of(head))


@pytest.mark.parametrize("path", GET)
def test_allow_names_head_beside_get(client, path):
    """A 405 lists HEAD wherever the path takes GET."""
    answer = client.delete(path)
    assert (405, {"GET", "HEAD"}) == (answer.status_code, set(answer.headers["allow"].split(", ")) - {"POST"})


def test_head_is_not_counted(client):
    """HEAD changes no metric."""
    before = client.get("/metrics").text
    for path in GET:
        client.head(path)
    assert before == client.get("/metrics").text


def test_the_log_has_the_method_of_head(logged):
    """The log line of a HEAD request has the method HEAD."""
    logged.client.head("/health")
    [line] = [line for line in logged.lines() if line.get("message") == "request"]
    assert ("HEAD", "/health", 200) == (line["method"], line["route"], line["status"])


@pytest.mark.parametrize("path", ["/", "/health", "/v2/nowhere", "/predict"])
def test_head_over_a_connection_leaves_it_usable(url, path):
    """After HEAD, the same connection answers GET."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=DEADLINE_S)
    connection.request("HEAD", path)
    assert b"" == connection.getresponse().read()
    connection.request("GET", "/health")
    assert 200 == connection.getresponse().status
    connection.close()


@pytest.mark.rie
@pytest.mark.parametrize("path", GET)
def test_head_behind_a_function_url_has_gets_headers(function, path):
    """HEAD and GET have the same headers in Lambda's own runtime."""
    get, head = (
        httpx2.request(method, function.url + path, trust_env=False, timeout=DEADLINE_S) for method in ("GET", "HEAD")
    )
    changing = {"content-length"} if path == "/metrics" else set()  # the instance is shared with other tests
    without = [{k: v for k, v in headers_of(one).items() if k not in changing} for one in (get, head)]
    assert (200, without[0], b"") == (head.status_code, without[1], head.content)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/docs", 200),
        ("GET", "/nowhere", 404),
        ("DELETE", "/", 405),
        ("POST", "/predict", 400),
        ("GET", "/v2", 200),
        ("GET", "/v2/nowhere", 404),
    ],
)
def test_every_response_has_nosniff(client, method, path, status):
    """Every answer has `nosniff` once, so that browsers keep to the content type."""
    answer = client.request(method, path)
    assert (status, ["nosniff"]) == (answer.status_code, answer.headers.get_list("x-content-type-options"))
