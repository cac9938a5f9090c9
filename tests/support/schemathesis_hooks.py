"""Send real photos where the OpenAPI document says `format: binary` or `byte`, so that they are not refused."""

import base64
from io import BytesIO

import schemathesis
from hypothesis import strategies as st
from PIL import Image


def photo(image_format: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, image_format)
    return file.getvalue()


PHOTOS = [photo(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]
schemathesis.openapi.format("binary", st.sampled_from(PHOTOS))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(data).decode() for data in PHOTOS]))
