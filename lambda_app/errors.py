"""What can be wrong with a request. Each error carries its HTTP status and the code that clients match on.

A class's docstring says when it happens, to whoever reads /docs or README.
"""


class RequestError(Exception):
    """A request that cannot be answered; the message names the value and what was expected."""

    status: int
    code: str


class NoPhoto(RequestError):
    """no photo, an empty one, or another field name than `file`"""

    status = 400
    code = "no_file"


class MalformedRequest(RequestError):
    """a body that cannot be read or breaks off: a form, base64, gzip; or two files where one is expected"""

    status = 400
    code = "bad_request"


class SlowUpload(RequestError):
    """a body that comes at less than 16 kB a second, or takes longer than a minute; never on Lambda"""

    status = 408
    code = "slow_upload"


class PhotoTooLarge(RequestError):
    """more bytes or pixels than the settings allow, or more than 5 s of decoding in one request"""

    status = 413
    code = "too_large"


class UnsupportedPhoto(RequestError):
    """not an image that can be read, or for `/predict/batch` no form"""

    status = 415
    code = "unsupported_image"


class UnsupportedType(RequestError):
    """a content type or an encoding that the route does not take"""

    status = 415
    code = "unsupported_media_type"


class DamagedPhoto(RequestError):
    """an image that breaks off or contradicts itself"""

    status = 422
    code = "damaged_image"


class BadField(RequestError):
    """a field with a value that does not fit: a label that is no class, JSON without a photo, too many photos"""

    status = 422
    code = "bad_field"


class Overloaded(RequestError):
    """more photos wait than memory holds, or this one waited 5 s: retry after `Retry-After` seconds; never on Lambda"""

    status = 503
    code = "overloaded"
