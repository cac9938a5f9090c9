"""What schemathesis sends where the document says `format: binary`: real photos, or every one would be refused."""

from io import BytesIO

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def photo(image_format: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, image_format)
    return file.getvalue()


schemathesis.openapi.format("binary", st.sampled_from([photo(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]))
