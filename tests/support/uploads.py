"""Build requests with a photo, and check the errors of their responses."""

FORM = "multipart/form-data; boundary=XbX"
NAMED = 'Content-Disposition: form-data; name="file"; filename="a.jpg"'
NAMELESS = 'Content-Disposition: form-data; name="file"'
IMAGE = "Content-Type: image/jpeg"
# Error messages show these ways to send a photo.
COMMANDS = ("curl -F file=@cat.jpg", "--data-binary @cat.jpg")


def part(data: bytes, *headers: str, boundary: str = "XbX") -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"--{boundary}\r\n{lines}\r\n".encode() + data + b"\r\n"


def form(data: bytes, *headers: str, boundary: str = "XbX") -> bytes:
    return part(data, *headers, boundary=boundary) + f"--{boundary}--\r\n".encode()


def unread_body():
    """Return a body that fails the test if it is read."""
    raise AssertionError("the body was read")
    yield b""


def post(client, body, content_type=FORM, path="/predict", **headers):
    kind = {} if content_type is None else {"content-type": content_type}
    return client.post(path, content=body, headers=kind | headers)


def assert_error(answer, status, code, *messages):
    """Check the status, the code and the shape of an error, and that its message contains each of `messages`."""
    error = answer.json()["error"]
    assert (status, code) == (answer.status_code, error["code"])
    assert ({"code", "message", "request_id"}, "application/json") == (set(error), answer.headers["content-type"])
    assert ["nosniff"] == answer.headers.get_list("x-content-type-options")
    assert "Traceback" not in answer.text
    for message in messages:
        assert message in error["message"]
    assert "\n" not in error["message"]
