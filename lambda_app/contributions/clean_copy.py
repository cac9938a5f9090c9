"""Copy the pixels of a contributed photo, without metadata and at the size that the page sends."""

from io import BytesIO

from lambda_app.decoding.header import Header
from lambda_app.preprocess import shrink_header

SHORT_SIDE = 512  # pixels; as in page.html
QUALITY = 95  # the page encodes with at most 90, so encoding again loses little


def copy_photo(header: Header) -> bytes:
    """Return the photo as an upright sRGB JPEG of at most 512 pixels on its short side, without any metadata.

    Equal photos have equal copies. Bytes outside the picture, such as a trailer, are dropped. Raise the errors of
    `lambda_app.preprocess.shrink_header`.
    """
    file = BytesIO()
    shrink_header(header, SHORT_SIDE).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
