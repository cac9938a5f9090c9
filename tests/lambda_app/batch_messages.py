"""Build the messages that name photos in S3."""

import json
from urllib.parse import quote_plus

from lambda_app.batch.objects import Manifest
from tests.support.faulty_cloud import PHOTOS


def manifest(*keys, bucket=PHOTOS):
    return Manifest(job="job", bucket=bucket, keys=list(keys)).model_dump_json()


def notification(*keys, event_name="ObjectCreated:Put", bucket=PHOTOS, **fields):
    objects = [{"key": quote_plus(key), **fields} for key in keys]
    records = [{"eventName": event_name, "s3": {"bucket": {"name": bucket}, "object": each}} for each in objects]
    return json.dumps({"Records": records})
