"""Format classes, errors and numbers as text for the page, for any set of classes."""

from collections.abc import Sequence

MAX_NAMED = 4  # classes that the question lists by name

# Messages for visitors, by error code; the API's own messages name values and address programmers.
_PROBLEMS = {
    "no_file": "No photo was sent, or the file is empty.",
    "bad_request": "The upload arrived incomplete.",
    "slow_upload": "The upload took too long.",
    "too_large": "This photo is too large. The limits are {megabytes} and {megapixels} megapixels.",
    "unsupported_image": "This file is not a supported image. Use JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP or TIFF.",
    "unsupported_media_type": "The server does not support the encoding of this upload.",
    "damaged_image": "This image is damaged or incomplete.",
    "overloaded": "The server is busy. Try again in a moment.",
    "bad_field": "The request has an invalid field.",
    "no_explanation": "This model has no activation map.",
    "contributions_off": "This server keeps no photos.",
    "cross_origin": "This server accepts shared photos only from its own page.",
    "no_consent": "A photo is shared only with your consent.",
    "too_many_contributions": "The server has received enough photos for now. Try again later.",
    "storage_failed": "The server could not store the photo. Try again later.",
    "internal_error": "The server failed to process this photo. Try again later.",
}


def problems(max_bytes: int, max_pixels: int) -> dict[str, str]:
    """Return the message of each error code, with the limits in place."""
    limits = {"megabytes": megabytes(max_bytes), "megapixels": f"{max_pixels / 1e6:.0f}"}
    return {code: text.format(**limits) for code, text in _PROBLEMS.items()}


def readable(class_name: str) -> str:
    """Return the class name with spaces for underscores."""
    return class_name.replace("_", " ")


def title(class_name: str) -> str:
    """Return the class name with spaces and an upper-case first letter."""
    name = readable(class_name)
    return name[:1].upper() + name[1:]


def question(class_names: Sequence[str]) -> str:
    """Return the question of the page, such as "Cat or dog?"."""
    if len(class_names) > MAX_NAMED:
        return f"Which of {len(class_names)} classes is it?"
    *others, last = map(readable, class_names)
    return title(f"{', '.join(others)} or {last}?")


def none_of(class_names: Sequence[str]) -> str:
    """Return the verdict for an unknown photo, such as "Neither cat nor dog"."""
    if len(class_names) > 2:
        return f"None of the {len(class_names)} classes"
    one, other = map(readable, class_names)
    return f"Neither {one} nor {other}"


def percent(share: float) -> str:
    return "over 99.9 %" if 0.9995 <= share < 1 else f"{share:.1%}".replace("%", " %")


def megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
