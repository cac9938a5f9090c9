"""What the page says of classes and errors, in words that suit any folder of classes."""

from collections.abc import Sequence

FEW = 4  # classes that a question can name

# By error code, for people; the API's own messages name values and are for programmers.
_PROBLEMS = {
    "no_file": "There is no photo, or it is empty.",
    "bad_request": "The upload arrived incomplete.",
    "slow_upload": "The upload took too long.",
    "too_large": "This photo is too large: {megabytes} can travel, and {megapixels} megapixels are read.",
    "unsupported_image": "This is not an image that can be read. JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP and TIFF can.",
    "unsupported_media_type": "The upload is encoded in a way that the server does not read.",
    "damaged_image": "This image is damaged: it breaks off or contradicts itself.",
    "overloaded": "Too many people are asking just now. Try again in a moment.",
    "bad_field": "This was not understood.",
    "internal_error": "The server failed at this photo. It is not your fault.",
}


def problems(max_bytes: int, max_pixels: int) -> dict[str, str]:
    limits = {"megabytes": megabytes(max_bytes), "megapixels": f"{max_pixels / 1e6:.0f}"}
    return {code: text.format(**limits) for code, text in _PROBLEMS.items()}


def spoken(class_name: str) -> str:
    """Folders have underscores for spaces."""
    return class_name.replace("_", " ")


def title(class_name: str) -> str:
    name = spoken(class_name)
    return name[:1].upper() + name[1:]


def question(class_names: Sequence[str]) -> str:
    """Cat or dog?"""
    if len(class_names) > FEW:
        return f"Which of {len(class_names)} is it?"
    *others, last = map(spoken, class_names)
    return title(f"{', '.join(others)} or {last}?")


def none_of(class_names: Sequence[str]) -> str:
    """What an unknown photo shows."""
    if len(class_names) > 2:
        return f"None of the {len(class_names)} classes"
    one, other = map(spoken, class_names)
    return f"Neither {one} nor {other}"


def percent(share: float) -> str:
    return "over 99.9 %" if 0.9995 < share < 1 else f"{share:.1%}".replace("%", " %")


def megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB"
