"""Multipart forms, split into parts as they arrive: RFC 7578, RFC 2046 section 5.1. Nothing touches the disk.

The parser of python-multipart refuses a preamble and folded header lines, and ignores `filename*`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from python_multipart.multipart import parse_options_header

from lambda_app.errors import MalformedRequest, UnsupportedType
from lambda_app.uploads.encodings import decode_base64

MAX_HEADERS = 16_384  # bytes of one part's header lines
MAX_PADDING = 1_024  # blanks after a boundary
FOLD = re.compile(rb"\r\n[ \t]+")
QUOTED = re.compile(rb'"(?:\\.|[^"\\])*(?:"|\Z)')  # without the end, each unclosed quote would be a search to the end
EXTENDED_NAME = re.compile(rb";\s*filename\*", re.IGNORECASE)  # RFC 5987 and 2231
END_OF_BOUNDARY = re.compile(rb"--|[ \t]*(?=\r\n)")
UNDECIDED = re.compile(rb"(?:-|[ \t]*\r?)\Z")  # its beginning, at the end of the bytes so far


@dataclass
class Part:
    name: str
    content_type: str
    has_file_name: bool
    transfer_encoding: str
    pieces: list[bytes] = field(default_factory=list)

    def is_text(self) -> bool:
        """Tell whether the part is a text field. Some clients send files without a file name or a content type."""
        if self.has_file_name or self.content_type.startswith("image/"):
            return False
        content = self.data()
        try:
            content.decode()
        except UnicodeDecodeError:
            return False
        return b"\0" not in content

    def data(self) -> bytes:
        """Return the content without its transfer encoding. Raise `MalformedRequest` or `UnsupportedType`."""
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
            raise MalformedRequest(f"{error}; expected base64, as a part's content-transfer-encoding says") from error


class FormParser:
    """Split a body into parts, chunk by chunk. Only parts named `field` keep their content."""

    def __init__(self, content_type: str, field: str) -> None:
        """Raise `MalformedRequest` if the content type has no boundary."""
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"").rstrip()
        if not boundary:
            raise MalformedRequest(
                f"the content type {content_type!r:.80} has no boundary; let the client set it, as curl -F does"
            )
        self.field = field
        self.first, self.next = b"\n--" + boundary, b"\r\n--" + boundary  # lines of a preamble may end with LF
        self.held, self.place = b"\n", 0  # the first boundary may have no line before it
        self.part: Part | None = None
        self.in_headers = self.started = self.ended = False

    def feed(self, chunk: bytes) -> Iterator[Part]:
        """Yield the parts that begin in this chunk; their content may come later. Raise `MalformedRequest`."""
        self.held, self.place = self.held[self.place :] + chunk, 0
        while not self.ended:
            if self.in_headers:
                if not (part := self._read_headers()):
                    return
                self.part, self.in_headers = part, False
                yield part
            elif (boundary := self._read_to_boundary()) is None:
                return
            else:
                self.started, self.ended, self.in_headers = True, boundary == b"--", boundary != b"--"
                self.part = None
        self.place = len(self.held)  # RFC 2046: an epilogue is ignored

    def _read_headers(self) -> Part | None:
        """Return the next part, or None if its headers are incomplete."""
        end = self.held.find(b"\r\n\r\n", self.place, self.place + MAX_HEADERS)
        if end >= 0:
            head, self.place = self.held[self.place : end], end + 4
            return read_part(head)
        if len(self.held) - self.place >= MAX_HEADERS:
            raise MalformedRequest(f"the header lines of a part have over {MAX_HEADERS} bytes; expected fewer")
        return None

    def _read_to_boundary(self) -> bytes | None:
        """Return what follows the next boundary: `--` if it is the last; None if it has not arrived.

        What stands before it is the part's content, or the preamble, which is ignored.
        """
        boundary = self.next if self.part else self.first
        found = self.held.find(boundary, self.place)
        while found >= 0:
            behind = found + len(boundary)
            if end := END_OF_BOUNDARY.match(self.held, behind):
                self._keep(found)
                self.place = end.end()
                return end[0].strip()
            if UNDECIDED.match(self.held, behind) and len(self.held) - behind < MAX_PADDING:
                break
            found = self.held.find(boundary, behind)
        end_of_content = found if found >= 0 else len(self.held) - len(boundary) + 1  # the rest may be its beginning
        self._keep(max(end_of_content, self.place))
        self.place = max(end_of_content, self.place)
        return None

    def _keep(self, end: int) -> None:
        if self.part and self.part.name == self.field and end > self.place:
            self.part.pieces.append(self.held[self.place : end])


def read_part(head: bytes) -> Part:
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
