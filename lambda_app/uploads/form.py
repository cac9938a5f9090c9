"""Parse multipart forms as they arrive (RFC 7578; RFC 2046, section 5.1). The parser never writes to disk.

The parser of python-multipart rejects preambles and folded header lines, and ignores `filename*`.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header

from lambda_app.errors import MalformedRequest, UnsupportedType
from lambda_app.uploads.encodings import decode_base64

MAX_HEADERS = 16_384  # bytes of one part's header lines
MAX_PADDING = 1_024  # bytes of whitespace after a boundary
FOLD = re.compile(rb"\r\n[ \t]+")
# \Z matches an unclosed quote; without it, each one would scan to the end of the input (quadratic time).
QUOTED = re.compile(rb'"(?:\\.|[^"\\])*(?:"|\Z)')
EXTENDED_NAME = re.compile(rb";\s*filename\*", re.IGNORECASE)  # RFC 5987 and 2231
AFTER_BOUNDARY = re.compile(rb"--|[ \t]*(?=\r\n)")
PARTIAL_AFTER_BOUNDARY = re.compile(rb"(?:-|[ \t]*\r?)\Z")  # `AFTER_BOUNDARY` that has not arrived completely


@dataclass
class Part:
    """A part of the form. Its content arrives in pieces."""

    name: str
    content_type: str
    has_file_name: bool
    transfer_encoding: str
    pieces: list[bytes] = field(default_factory=list)

    def is_text(self) -> bool:
        """Return whether the part is a text field. Some clients send files without a file name or a content type."""
        if self.has_file_name or self.content_type.startswith("image/"):
            return False
        content = self.data()
        try:
            content.decode()
        except UnicodeDecodeError:
            return False
        return b"\0" not in content

    def data(self) -> bytes:
        """Return the decoded content.

        Raise `UnsupportedType` for an unknown transfer encoding, and `MalformedRequest` for invalid base64.
        """
        content = b"".join(self.pieces)
        if self.transfer_encoding in {"", "7bit", "8bit", "binary"}:
            return content
        if self.transfer_encoding != "base64":
            raise UnsupportedType(
                f"a part's content-transfer-encoding is {self.transfer_encoding!r:.80}; expected binary or base64"
            )
        try:
            return decode_base64(content)
        except ValueError as error:
            raise MalformedRequest(f"{error}; expected base64, as a part's content-transfer-encoding states") from error


class FormParser:
    """Split a body into parts, chunk by chunk. Only parts named in `fields` keep their content."""

    def __init__(self, content_type: str, fields: Collection[str]) -> None:
        """Raise `MalformedRequest` if the content type has no boundary."""
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"").rstrip()
        if not boundary:
            raise MalformedRequest(
                f"the content type {content_type!r:.80} has no boundary; let the client set it, as curl -F does"
            )
        self.fields = fields
        self.first_boundary = b"\n--" + boundary  # lines of a preamble may end with LF
        self.next_boundary = b"\r\n--" + boundary
        self.buffer = b"\n"  # the first boundary may be at the start of the body
        self.position = 0
        self.part: Part | None = None
        self.in_headers = self.has_started = self.has_ended = False

    def feed(self, chunk: bytes) -> Iterator[Part]:
        """Yield the parts that begin in this chunk; their content may arrive later. Raise `MalformedRequest`."""
        self.buffer, self.position = self.buffer[self.position :] + chunk, 0
        while not self.has_ended:
            if self.in_headers:
                if not (part := self._read_headers()):
                    return
                self.part, self.in_headers = part, False
                yield part
            elif (suffix := self._read_to_boundary()) is None:
                return
            else:
                self.has_started, self.has_ended, self.in_headers = True, suffix == b"--", suffix != b"--"
                self.part = None
        self.position = len(self.buffer)  # RFC 2046: ignore an epilogue

    def _read_headers(self) -> Part | None:
        """Return the next part, or None if its headers are incomplete."""
        end = self.buffer.find(b"\r\n\r\n", self.position, self.position + MAX_HEADERS)
        if end >= 0:
            head, self.position = self.buffer[self.position : end], end + 4
            return parse_headers(head)
        if len(self.buffer) - self.position >= MAX_HEADERS:
            raise MalformedRequest(f"the header lines of a part have over {MAX_HEADERS} bytes; expected fewer")
        return None

    def _read_to_boundary(self) -> bytes | None:
        """Return the characters after the next boundary, `--` if it is the last; None if it has not arrived.

        Keep the bytes before it as the part's content, or skip them if they are the preamble.
        """
        boundary = self.next_boundary if self.part else self.first_boundary
        start = self.buffer.find(boundary, self.position)
        while start >= 0:
            end = start + len(boundary)
            if suffix := AFTER_BOUNDARY.match(self.buffer, end):
                self._keep(start)
                self.position = suffix.end()
                return suffix[0].strip()
            if PARTIAL_AFTER_BOUNDARY.match(self.buffer, end) and len(self.buffer) - end < MAX_PADDING:
                break
            start = self.buffer.find(boundary, end)
        # Without a match, the last bytes may still be the beginning of a boundary.
        end_of_content = max(start if start >= 0 else len(self.buffer) - len(boundary) + 1, self.position)
        self._keep(end_of_content)
        self.position = end_of_content
        return None

    def _keep(self, end: int) -> None:
        if self.part and self.part.name in self.fields and end > self.position:
            self.part.pieces.append(self.buffer[self.position : end])


def parse_headers(head: bytes) -> Part:
    """Return the part with these header lines. Raise `MalformedRequest` if it has no name."""
    lines = (line.partition(b":") for line in FOLD.sub(b" ", head).split(b"\r\n"))
    headers = {name.strip().lower(): value.strip() for name, _, value in lines}
    disposition = headers.get(b"content-disposition", b"")
    _, parameters = parse_options_header(disposition)
    if b"name" not in parameters:
        raise MalformedRequest('a part of the form has no name; expected Content-Disposition: form-data; name="file"')
    has_file_name = b"filename" in parameters or EXTENDED_NAME.search(QUOTED.sub(b"", disposition)) is not None
    content_type, encoding = (
        headers.get(name, b"").decode("latin-1").lower() for name in (b"content-type", b"content-transfer-encoding")
    )
    return Part(parameters[b"name"].decode(errors="replace"), content_type, has_file_name, encoding)
