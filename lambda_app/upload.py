"""Where the photo is in a request: the raw body, or the one multipart file named `file`. Never touches the disk."""

from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lambda_app.errors import MalformedRequest, NoPhoto, PhotoTooLarge, UnsupportedPhoto

FORM_OVERHEAD = 65_536  # bytes of boundaries, part headers and small fields around the photo


class _Parser(MultiPartParser):
    spool_max_size = 0  # SpooledTemporaryFile never rolls over to disk; Lambda's root file system is read-only
    # Starlette decodes names with the codec that the client asks for, of which some raise (punycode, undefined).
    _charset = property(lambda _: "utf-8", lambda _, __: None)


async def read_photo(request: Request, max_bytes: int) -> bytes:
    """Raises NoPhoto, MalformedRequest, PhotoTooLarge (before the rest is read) or UnsupportedPhoto."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        data = await _read_form(request, max_bytes)
    elif kind.startswith("image/"):
        data = b"".join([chunk async for chunk in _limited(request, max_bytes, max_bytes)])
    else:
        raise UnsupportedPhoto(f"content type is {content_type!r}; expected image/* or multipart/form-data")
    if not data:
        raise NoPhoto("the photo is empty (0 bytes); expected an image file")
    return data


async def _read_form(request: Request, max_bytes: int) -> bytes:
    stream = _limited(request, max_bytes + FORM_OVERHEAD, max_bytes)
    parser = _Parser(request.headers, stream, max_files=1, max_fields=10)
    try:
        form = await parser.parse()
        photo = form.get("file")
        if not isinstance(photo, UploadFile):
            raise NoPhoto(f"the form has no complete file named 'file' (its fields: {', '.join(form) or 'none'})")
        if photo.size is not None and photo.size > max_bytes:
            raise _too_large(str(photo.size), max_bytes)
        return await photo.read()
    except MultiPartException as error:
        raise MalformedRequest(f"{error.message} Expected a form with one file named 'file'.") from error
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


def _too_large(size: str, max_bytes: int) -> PhotoTooLarge:
    return PhotoTooLarge(f"the photo has {size} bytes or more; at most {max_bytes} are accepted")
