"""Test the stored copy of a contributed photo, and its metadata."""

import hashlib
import io
import json
from datetime import datetime
from urllib.parse import unquote
from uuid import uuid4

import pytest
from PIL import ExifTags, Image, PngImagePlugin

from lambda_app.contributions.contribution import Contribution, copy_photo
from lambda_app.preprocess import read_header
from tests.lambda_app.contribution_requests import (
    FORM,
    PREDICTION_ID,
    VERSION,
    contribute,
    files,
    read_copies,
)
from tests.support.drawing import encode_image


def test_photo_is_stored_with_the_server_prediction(contributing_client, tmp_path, encode):
    """The key has model version, label and digest; the prediction is the server's, not the one in the form."""
    answer = contribute(contributing_client, encode("red"), FORM | {"prediction": "dog", "confidence": "0.1"})
    [copy] = read_copies(tmp_path)
    digest = hashlib.sha256(copy).hexdigest()
    folder = f"contributed/{VERSION}/dog"
    assert [f"{folder}/{digest}.jpg", f"{folder}/{digest}.json"] == files(tmp_path)
    expected = {"request_id": PREDICTION_ID, "label": "dog", "model_version": VERSION, "contribution": digest}
    assert (200, expected) == (answer.status_code, answer.json())
    metadata = json.loads((tmp_path / folder / f"{digest}.json").read_text())
    assert ["request-id", "prediction", "confidence", "time"] == list(metadata)
    again = contributing_client.post("/predict", content=copy).json()
    assert (PREDICTION_ID, "cat", f"{again['confidence']:.6f}") == tuple(metadata.values())[:3]
    assert datetime.fromisoformat(metadata["time"]).utcoffset().total_seconds() == 0
    assert {0o600} == {path.stat().st_mode & 0o777 for path in (tmp_path / folder).iterdir()}


def test_same_photo_is_stored_once(contributing_client, tmp_path, encode):
    """The second contribution replaces the first one; a contribution with another label is stored separately."""
    digests = [contribute(contributing_client, encode()).json()["contribution"] for _ in range(2)]
    contribute(contributing_client, encode(), FORM | {"label": "cat"})
    assert (1, 2) == (len(set(digests)), len(read_copies(tmp_path)))


def test_every_sender_of_a_photo_is_recorded(contributing_client, tmp_path, encode):
    """An empty file leads from the request of each sender to the photo, whose metadata names only the last sender."""
    ids = [PREDICTION_ID, str(uuid4())]
    [digest] = {contribute(contributing_client, encode(), FORM | {"request_id": i}).json()["contribution"] for i in ids}
    paths = [tmp_path / f"contributed/requests/{i}/{digest}" for i in ids]
    assert [b"", b""] == [path.read_bytes() for path in paths]


def test_copy_has_no_metadata(contributing_client, tmp_path):
    """The copy is upright, without location, comments, profiles, thumbnails and bytes after the picture."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "s3cret"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 0.0)
    options = {"exif": exif, "comment": b"s3cret", "xmp": b"s3cret", "dpi": (300, 300)}
    photo = encode_image(Image.new("RGB", (64, 48), "red"), **options)
    assert 200 == contribute(contributing_client, photo + b"s3cret").status_code
    [copy] = read_copies(tmp_path)
    image = Image.open(io.BytesIO(copy))
    assert ((48, 64), "JPEG", {}) == (image.size, image.format, dict(image.getexif()))
    assert {"jfif", "jfif_version", "jfif_unit", "jfif_density"} == set(image.info)
    assert b"s3cret" not in copy


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "TIFF", "WEBP"])
def test_texts_of_other_formats_are_not_copied(encode, image_format):
    """Comments of PNG, GIF, TIFF and WebP photos are not in the copy."""
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[ExifTags.Base.ImageDescription] = "s3cret"
    text.add_text("comment", "s3cret")
    options = {"PNG": {"pnginfo": text}, "GIF": {"comment": b"s3cret"}}.get(image_format, {})
    original = encode(image_format=image_format, exif=exif, **options)
    assert b"s3cret" in original
    copy = copy_photo(read_header(original))
    assert b"s3cret" not in copy
    assert "comment" not in Image.open(io.BytesIO(copy)).info


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 48), (64, 48)), ((600, 512), (600, 512)), ((900, 600), (768, 512)), ((1, 600), (1, 600))],
)
def test_copy_is_limited_to_size_of_page(encode, size, expected):
    """The copy's short side has at most 512 pixels; small photos keep their size."""
    copy = copy_photo(read_header(encode(size=size, image_format="PNG")))
    assert expected == Image.open(io.BytesIO(copy)).size


def test_metadata_is_ascii():
    """S3 accepts only ASCII in metadata, so class names are percent-encoded."""
    contribution = Contribution(
        b"", "a", "id", "Kätzchen 100 %", 0.5, "v", datetime.fromisoformat("2026-01-31T12:00:00Z")
    )
    metadata = contribution.metadata
    assert metadata["prediction"].isascii()
    assert ("Kätzchen 100 %", "0.500000", "2026-01-31T12:00:00+00:00") == (
        unquote(metadata["prediction"]),
        metadata["confidence"],
        metadata["time"],
    )
