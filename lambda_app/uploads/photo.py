"""Find the photos in a request: the raw body, base64 in JSON, or the form's files named `file`.

The bytes determine whether the body is a photo. Clients often set a wrong content type, or none.
"""

from collections.abc import Collection, Sequence

from starlette.requests import Request

from lambda_app.errors import BadField, MalformedRequest, NoPhoto, UnsupportedPhoto
from lambda_app.uploads.encodings import FORM_COMMAND, RAW_COMMAND, extract_photo
from lambda_app.uploads.form import FormParser, Part
from lambda_app.uploads.reader import check_size, media_type, read_body, stream_body

FORM = "multipart/form-data"
BODY_OVERHEAD = 65_536  # bytes around the photos: boundaries, part headers, JSON and small fields
MAX_FIELDS = 10  # fields of a form in addition to its photos


async def read_photo(request: Request, max_bytes: int) -> bytes:
    """Return the request's photo.

    Raise `NoPhoto`, `MalformedRequest`, `BadField`, `UnsupportedType`, or `PhotoTooLarge` before the rest is read.
    """
    kind = media_type(request)
    if kind == FORM:
        [data] = _photos(await _read_parts(request, max_bytes, max_photos=1), max_bytes, max_photos=1)
    else:
        # Base64 is a third longer than the photo; line breaks and escaped slashes add up to a tenth.
        limit = max_bytes if kind.startswith("image/") else max_bytes * 3 // 2 + BODY_OVERHEAD
        data = extract_photo(await read_body(request, limit, max_bytes))
        check_size(len(data), max_bytes)
    _check_not_empty(data)
    return data


async def read_photos(request: Request, max_bytes: int, max_photos: int) -> list[bytes]:
    """Return the form's photos in order, at most `max_bytes` in total.

    Raise the errors of `read_photo`, and `BadField` for more than `max_photos` photos.
    """
    if media_type(request) != FORM:
        content_type = request.headers.get("content-type", "")
        raise UnsupportedPhoto(f"content type is {content_type!r:.80}; expected {FORM}, e.g. {FORM_COMMAND}")
    return _photos(await _read_parts(request, max_bytes, max_photos), max_bytes, max_photos)


async def read_photo_form(request: Request, max_bytes: int, fields: Collection[str]) -> tuple[bytes, dict[str, str]]:
    """Return the form's photo, and those of its text fields that are named in `fields`.

    Raise the errors of `read_photo`, and `BadField` for a field that is repeated or not UTF-8.
    """
    parts = await _read_parts(request, max_bytes, max_photos=1, fields=fields)
    texts: dict[str, str] = {}
    for part in parts:
        if part.name in fields:
            if part.name in texts:
                raise BadField(f"the form has several fields {part.name!r}; expected one")
            texts[part.name] = _text(part)
    [data] = _photos(parts, max_bytes, max_photos=1)
    _check_not_empty(data)
    return data, texts


def _check_not_empty(photo: bytes) -> None:
    if not photo:
        raise NoPhoto(f"the photo is empty (0 bytes); expected an image file, e.g. {FORM_COMMAND}")


def with_advice(error: UnsupportedPhoto, request: Request) -> UnsupportedPhoto:
    """Append the commands for sending a photo, unless the content type is a form or an image."""
    kind = media_type(request)
    if kind == FORM or kind.startswith("image/"):
        return error
    content_type = request.headers.get("content-type", "")
    return UnsupportedPhoto(
        f"{error}; content type is {content_type!r:.80}: send a photo with {FORM_COMMAND} or {RAW_COMMAND}"
    )


def _photos(parts: Sequence[Part], max_bytes: int, max_photos: int) -> list[bytes]:
    photos = [_photo_data(part) for part in parts if part.name == "file"]
    if not photos:
        names = ", ".join(part.name for part in parts)[:200]
        raise NoPhoto(f"the form has no file named 'file' (its fields: {names or 'none'}); send {FORM_COMMAND}")
    if len(photos) > max_photos:
        raise _too_many(max_photos)
    check_size(sum(map(len, photos)), max_bytes)
    return photos


async def _read_parts(request: Request, max_bytes: int, max_photos: int, fields: Collection[str] = ()) -> list[Part]:
    """Return the form's parts. Raise an error for an excess part without waiting for the rest of the form."""
    parser = FormParser(request.headers["content-type"], {"file", *fields})
    parts: list[Part] = []
    files = 0
    async for chunk in stream_body(request, max_bytes + BODY_OVERHEAD, max_bytes):
        for part in parser.feed(chunk):
            parts.append(part)
            files += part.has_file_name
            if files > max_photos:
                raise _too_many(max_photos)
            if len(parts) - files > MAX_FIELDS:
                raise MalformedRequest(f"the form has over {MAX_FIELDS} fields besides the photos; send fewer")
    if not parser.has_started:
        raise MalformedRequest("the form does not contain the boundary of its content type; expected the same boundary")
    if not parser.has_ended:
        raise MalformedRequest("the form is truncated; expected its closing boundary")
    return parts


def _photo_data(part: Part) -> bytes:
    if part.is_text():
        raise NoPhoto(f"the part 'file' is text without a file name; send the photo as a file, e.g. {FORM_COMMAND}")
    return part.data()


def _text(part: Part) -> str:
    try:
        return part.data().decode()
    except UnicodeDecodeError as error:
        raise BadField(f"the field {part.name!r} is not UTF-8: {error.reason}; expected text") from error


def _too_many(max_photos: int) -> MalformedRequest | BadField:
    if max_photos == 1:
        return MalformedRequest("the form has more than one file; expected one, or several at POST /predict/batch")
    return BadField(f"the form has more than {max_photos} files; expected at most {max_photos}")
