"""What can be wrong with a request. Each error carries its HTTP status and the code that clients match on."""


class RequestError(Exception):
    """A request that cannot be answered; the message names the value and what was expected."""

    status: int
    code: str


class NoPhoto(RequestError):
    status = 400
    code = "no_file"


class MalformedRequest(RequestError):
    status = 400
    code = "bad_request"


class PhotoTooLarge(RequestError):
    status = 413
    code = "too_large"


class UnsupportedPhoto(RequestError):
    status = 415
    code = "unsupported_image"


class DamagedPhoto(RequestError):
    status = 422
    code = "damaged_image"


class BadField(RequestError):
    status = 422
    code = "bad_field"
