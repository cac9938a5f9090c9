"""Define the errors of requests. Each carries its HTTP status and the code that clients match on.

The OpenAPI document shows the docstring of each class as the description of its error.
"""


class RequestError(Exception):
    """A request that cannot be answered. The message states the value and what was expected."""

    status: int
    code: str
    retry_after: int | None = None  # seconds, for the header of this name


class NoPhoto(RequestError):
    """The request has no photo, an empty photo, or a field name other than `file`."""

    status = 400
    code = "no_file"


class MalformedRequest(RequestError):
    """The form, base64 or gzip data is invalid or truncated, or there are two files where one is expected."""

    status = 400
    code = "bad_request"


class CrossOrigin(RequestError):
    """A page of another origin sent the form with a contributed photo."""

    status = 403
    code = "cross_origin"


class ContributionsOff(RequestError):
    """The server does not accept contributed photos. Send feedback as JSON."""

    status = 403
    code = "contributions_off"


class NoModel(RequestError):
    """The Open Inference Protocol's model or its version does not exist."""

    status = 404
    code = "not_found"


class SlowUpload(RequestError):
    """The body arrives at less than 16 kB per second or takes over a minute. Never occurs on Lambda."""

    status = 408
    code = "slow_upload"


class PhotoTooLarge(RequestError):
    """The request exceeds a limit on bytes, pixels, side length, memory or decoding time; the message names it."""

    status = 413
    code = "too_large"


class UnsupportedPhoto(RequestError):
    """The photo is not an image in a supported format, or the body of `/predict/batch` is not a form."""

    status = 415
    code = "unsupported_image"


class UnsupportedType(RequestError):
    """The route does not accept the content type or the content encoding."""

    status = 415
    code = "unsupported_media_type"


class DamagedPhoto(RequestError):
    """The image is truncated or inconsistent."""

    status = 422
    code = "damaged_image"


class BadField(RequestError):
    """A field has an invalid value: a label that is not a class, JSON without a photo, or too many photos."""

    status = 422
    code = "bad_field"


class NoExplanation(RequestError):
    """The request has `explain=1`, but the model file has no activation map."""

    status = 422
    code = "no_explanation"


class NoConsent(RequestError):
    """The form has a contributed photo, but not the field `consent=true`."""

    status = 422
    code = "no_consent"


class TooManyContributions(RequestError):
    """The instance has accepted its hourly maximum of contributed photos; retry later."""

    status = 429
    code = "too_many_contributions"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(RequestError):
    """The server is at capacity, or the photo waited over 5 s, or was not decoded in time; retry later."""

    status = 503
    code = "overloaded"
    retry_after = 1  # two cores classify about 100 photos in this time


class StorageFailed(RequestError):
    """The contributed photo could not be stored; the log has the reason. Send feedback as JSON."""

    status = 503
    code = "storage_failed"

    def __init__(self, reason: str) -> None:
        super().__init__("the photo could not be stored; try again later, or send the feedback as application/json")
        self.reason = reason
