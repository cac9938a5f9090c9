"""Tests of listing the keys of photos."""

import pytest

from infra.score.listing import S3Path, list_photos
from tests.infra.score.cloud import PHOTOS, RESULTS

pytestmark = pytest.mark.slow


def test_key_may_begin_with_a_slash(aws):
    """Only results are left out, and only in their own bucket."""
    for key in ("/2026/1.jpg", "pets/2.jpg"):
        aws.put(key, b"")
    source = S3Path(PHOTOS, "")
    listed = {
        bucket: list(list_photos(aws.s3, source, results=S3Path(bucket, "pets/"), skip=0, last_key=""))
        for bucket in (PHOTOS, RESULTS)
    }
    assert {PHOTOS: ["/2026/1.jpg"], RESULTS: ["/2026/1.jpg", "pets/2.jpg"]} == listed
