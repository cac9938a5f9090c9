"""Check recorded requests of axios, React Native, Spring, Apache HttpClient, Jakarta Mail, .NET and KServe.

The tests send recorded bytes without these clients. The photo is red, which the tiny model classifies as a cat.
"""

import base64
import json
import socket
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.waiting import DEADLINE_S


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\r\n" for text in texts).encode()


AXIOS = "axios-1.21.1-boundary-QTIPPmuJexeoppgu1aQU48u6G"
NODE_FORM_DATA = "--------------------------88d305aadd0e29a9414883cd"
UUID = "b1ab8eac-2a75-4ae3-9b0a-5b5b0a6a2f39"
# For each client: the content type, and the bytes before and after the photo.
RECORDED = {
    "axios, a Blob without a type": (
        f"multipart/form-data; boundary={AXIOS}",
        lines(
            f"--{AXIOS}",
            'Content-Disposition: form-data; name="file"; filename="blob"',
            "Content-Type: application/octet-stream",
            "",
        ),
        lines("", f"--{AXIOS}--"),
    ),
    "axios, a Buffer": (
        f"multipart/form-data; boundary={NODE_FORM_DATA}",
        lines(
            f"--{NODE_FORM_DATA}",
            'Content-Disposition: form-data; name="file"',
            "Content-Type: application/octet-stream",
            "",
        ),
        lines("", f"--{NODE_FORM_DATA}--"),
    ),
    "axios, a Buffer as the body": ("application/x-www-form-urlencoded", b"", b""),
    "React Native on Android (OkHttp), {uri, name, type}": (
        f"multipart/form-data; boundary={UUID}",
        lines(
            f"--{UUID}",
            'content-disposition: form-data; name="file"; filename="photo.jpg"',
            "Content-Type: image/jpeg",
            "Content-Length: 823",
            "",
        ),
        lines("", f"--{UUID}--"),
    ),
    "React Native, {uri, type}": (
        f"multipart/form-data; boundary={UUID}",
        lines(f"--{UUID}", 'content-disposition: form-data; name="file"', "content-type: image/jpeg", ""),
        lines("", f"--{UUID}--"),
    ),
    "Java, Spring, ByteArrayResource": (
        f"multipart/form-data;charset=UTF-8;boundary={UUID}",
        lines(
            f"--{UUID}",
            'Content-Disposition: form-data; name="file"',
            "Content-Type: application/octet-stream",
            "Content-Length: 823",
            "",
        ),
        lines("", f"--{UUID}--"),
    ),
    "Java, Apache HttpClient": (
        "multipart/form-data; boundary=-yKe2Kb9v_8fZp; charset=ISO-8859-1",
        lines(
            "---yKe2Kb9v_8fZp",
            'Content-Disposition: form-data; name="file"; filename="cat.jpg"',
            "Content-Type: application/octet-stream",
            "Content-Transfer-Encoding: binary",
            "",
        ),
        lines("", "---yKe2Kb9v_8fZp--"),
    ),
    "Java, Jakarta Mail": (
        # recorded on two lines, which HTTP/1.1 forbids (RFC 9112, 5.2)
        'multipart/form-data; \tboundary="----=_Part_0_1234.5678"',
        lines(
            "------=_Part_0_1234.5678",
            "Content-Type: image/jpeg; name=cat.jpg",
            "Content-Transfer-Encoding: binary",
            "Content-Disposition: form-data; name=file; ",
            "\tfilename*=UTF-8''%E3%83%95.jpg",
            "",
        ),
        lines("", "------=_Part_0_1234.5678--"),
    ),
    ".NET, MultipartFormDataContent": (
        f'multipart/form-data; boundary="{UUID}"',
        lines(
            f"--{UUID}",
            "Content-Type: image/jpeg",
            "Content-Disposition: form-data; name=file; filename=cat.jpg; filename*=utf-8''cat.jpg",
            "",
        ),
        lines("", f"--{UUID}--"),
    ),
    ".NET, MultipartFormDataContent without a file name": (
        f'multipart/form-data; boundary="{UUID}"',
        lines(f"--{UUID}", "Content-Disposition: form-data; name=file", ""),
        lines("", f"--{UUID}--"),
    ),
}


def send(url: str, head: bytes, body: bytes) -> dict:
    """Send a request unchanged, and return the JSON of the response."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S) as connection:
        connection.sendall(head + body)
        with connection.makefile("rb") as response:
            return json.loads(response.read().partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("client", RECORDED)
def test_recorded_request_is_answered(url, photo, client):
    """The server finds the photo in the client's request."""
    content_type, before, after = RECORDED[client]
    body = before + photo + after
    head = lines(
        "POST /predict HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "",
    )
    assert "cat" == send(url, head, body)["predicted_class"]


MODEL = "/v2/models/pet-classifier"


@pytest.mark.parametrize("request_id", [None, "2ab9f3c4-0a52-4a8e-8a2c-0d6c7d1b5a55"])
@pytest.mark.parametrize("binary", [False, True])
def test_request_of_kserve_is_answered(url, photo, request_id, binary):
    """Requests of kserve.InferenceRESTClient work in JSON and in binary, with an id or with null.

    The test writes them itself, because kserve requires older packages than the other tests do. `InferRequest.to_rest`
    also puts `model_name` into the body.
    """
    tensor = {"name": "photos", "shape": [1], "datatype": "BYTES"}
    content = len(photo).to_bytes(4, "little") + photo
    if binary:
        tensor["parameters"] = {"binary_data_size": len(content)}
    else:
        tensor["data"] = [base64.b64encode(photo).decode()]
    inputs = {"id": request_id, "model_name": "pet-classifier", "inputs": [tensor]}
    text = json.dumps(inputs | {"outputs": [{"name": "predicted_class"}]}).encode()
    headers = {"content-type": "application/json"}
    if binary:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    with httpx2.Client(base_url=url, trust_env=False, timeout=DEADLINE_S) as client:
        response = client.post(f"{MODEL}/infer", content=text + (content if binary else b""), headers=headers)
        body = response.json()
    assert (200, request_id) == (response.status_code, body.get("id"))
    assert [["cat"]] == [output["data"] for output in body["outputs"]]
