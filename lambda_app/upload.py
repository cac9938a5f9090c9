"""Where the photos are in a request: the raw body, or the multipart files named `file`. Never touches the disk."""

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lambda_app.errors import BadField, MalformedRequest, NoPhoto, PhotoTooLarge, UnsupportedPhoto

FORM = "multipart/form-data"
FORM_OVERHEAD = 65_536  # bytes of boundaries, part headers and small fields around the photos


class _Parser(MultiPartParser):
    spool_max_size = 0  # SpooledTemporaryFile never rolls over to disk; Lambda's root file system is read-only
    # Starlette decodes names with the codec that the client asks for, of which some raise (punycode, undefined).
    _charset = property(lambda _: "utf-8", lambda _, __: None)
    ended = False

    def on_end(self) -> None:
        self.ended = True

    def too_many_files(self) -> bool:
        return self._current_files > self.max_files


async def read_photo(request: Request, max_bytes: int) -> bytes:
    """Raises NoPhoto, MalformedRequest, PhotoTooLarge (before the rest is read) or UnsupportedPhoto."""
    kind = _kind(request)
    if kind == FORM:
        [data] = await _read_form(request, max_bytes, max_photos=1)
    elif kind.startswith("image/"):
        data = b"".join([chunk async for chunk in _limited(request, max_bytes, max_bytes)])
    else:
        raise _unsupported(request, f"image/* or {FORM}")
    if not data:
        raise NoPhoto("the photo is empty (0 bytes); expected an image file")
    return data


async def read_photos(request: Request, max_bytes: int, max_photos: int) -> list[bytes]:
    """In order; `max_bytes` of them together. Errors as `read_photo`, and BadField for one photo too many."""
    if _kind(request) != FORM:
        raise _unsupported(request, FORM)
    return await _read_form(request, max_bytes, max_photos)


async def _read_form(request: Request, max_bytes: int, max_photos: int) -> list[bytes]:
    stream = _limited(request, max_bytes + FORM_OVERHEAD, max_bytes)
    parser = _Parser(request.headers, stream, max_files=max_photos, max_fields=10)
    try:
        form = await parser.parse()
        if not parser.ended:
            raise MalformedRequest("the form breaks off; expected its closing boundary")
        photos = [photo for photo in form.getlist("file") if isinstance(photo, UploadFile)]
        if not photos or len(photos) < len(form.getlist("file")):  # a text named so would shift the order
            raise NoPhoto(f"the form has no file named 'file' (its fields: {', '.join(form) or 'none'})")
        if (size := sum(photo.size or 0 for photo in photos)) > max_bytes:
            raise _too_large(str(size), max_bytes)
        return [await photo.read() for photo in photos]
    except MultiPartException as error:
        if parser.too_many_files() and max_photos > 1:
            raise BadField(f"the form has more than {max_photos} files; expected at most {max_photos}") from error
        expected = "one file" if max_photos == 1 else "files"
        raise MalformedRequest(f"{error.message} Expected a form with {expected} named 'file'.") from error
    finally:
        for file in parser._files_to_close_on_error:  # noqa: SLF001  # form.close() would miss an unfinished part
            file.close()


async def _limited(request: Request, limit: int, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives, stopping at the first byte over the limit or at a length announced over it."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and float(announced) > limit:  # int() refuses 4,300 digits
        raise _too_large(announced[:20], max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(str(received), max_bytes)
        yield chunk


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def _unsupported(request: Request, expected: str) -> UnsupportedPhoto:
    given = request.headers.get("content-type", "")
    return UnsupportedPhoto(f"content type is {given!r}; expected {expected}")


def _too_large(size: str, max_bytes: int) -> PhotoTooLarge:
    return PhotoTooLarge(f"the request has {size} bytes of photos or more; at most {max_bytes} are accepted")
