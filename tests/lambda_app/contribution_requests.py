"""Send contributed photos to the app, and read what it stores in a folder."""

from lambda_app.settings import Settings

PREDICTION_ID = "abcdef11-2222-3333-4444-555555555555"
FORM = {"label": "dog", "request_id": PREDICTION_ID.upper(), "consent": "true"}
VERSION = "2026.01.01-tiny"


def settings(folder, **changes):
    return Settings(contributions=str(folder), max_image_bytes=100_000, max_image_pixels=1_000_000, **changes)


def contribute(client, photo, fields=FORM, **options):
    return client.post("/feedback", data=fields, files={"file": ("x.jpg", photo)}, **options)


def files(folder):
    """Return the files of photos and metadata, without those that lead from a request to its photo."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return [name for name in found if not name.startswith("contributed/requests/")]


def read_copies(folder):
    return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]
