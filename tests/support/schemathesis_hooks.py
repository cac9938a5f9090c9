"""Send real photos where the OpenAPI document says `format: binary` or `byte`, so that they are not refused."""

import base64

import schemathesis
from hypothesis import strategies as st
from PIL import Image

from tests.support.drawing import encode_image

PHOTOS = [encode_image(Image.new("RGB", (8, 8), "red"), name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP")]
schemathesis.openapi.format("binary", st.sampled_from(PHOTOS))
schemathesis.openapi.format("byte", st.sampled_from([base64.b64encode(data).decode() for data in PHOTOS]))
