"""Copy a contributed photo: only its pixels are kept, and only as many as the page sends."""

from io import BytesIO

from lambda_app.decoding.header import Header
from lambda_app.preprocess import shrink_header

SHORT_SIDE = 512  # pixels; as in page.html
QUALITY = 95  # the page's JPEG has at most 90, so a second encoding loses little


def copy_photo(header: Header) -> bytes:
    """Return the photo as an upright sRGB JPEG of at most 512 pixels on its short side, without any metadata.

    Equal photos have equal copies. Bytes beside the picture, such as a trailer, are lost. Raise the errors of
    `lambda_app.preprocess.shrink_header`.
    """
    file = BytesIO()
    shrink_header(header, SHORT_SIDE).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
