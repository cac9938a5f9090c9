"""The loop of contributions, end to end: serve, contribute mistakes, harvest, review, retrain, and compare."""

import hashlib

import boto3
import pytest

from export.loop_trial import choose_photos, describe, project, run
from infra.emulator.runtime import RuntimeNotFound, find_rie
from tests.drawing import draw, encode, write_dataset
from tests.export.untrained_models import LENIENT
from tests.training.harvest.contributions import BUCKET, SOURCE
from tests.training.workspace import SMALL

# The channels of the network are few, so it judges by color first: cats with the fur of dogs are dogs to it.
PARAMS = (
    SMALL
    | {name.replace("__", "."): value for name, value in LENIENT.items()}
    | {"train.epochs": 3, "train.min_steps": 60, "release.margin": 0.1, "quantize.photos": 20}
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of orange cats, brown dogs and brown cats."""
    folder = write_dataset(tmp_path_factory.mktemp("drawn"), {"cat": 150, "dog": 150})
    for seed in range(90):
        brown = draw("cat", 10_000 + seed, fur_of="dog")
        (folder / f"cat/brown_{seed}.jpg").write_bytes(encode(brown))
    return folder


@pytest.fixture
def figures(photos, tmp_path, aws):
    """Return the figures of a loop whose contributions are in moto's S3."""
    try:
        find_rie()
    except RuntimeNotFound as error:
        pytest.skip(str(error))
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)

    def contribute(photo, answer):
        label, data = photo
        digest = hashlib.sha256(data).hexdigest()
        key = f"contributed/{answer['model_version']}/{label}/{digest}.jpg"
        s3.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata=describe(answer))

    with project(tmp_path / "trial", PARAMS):
        return run(*choose_photos(photos, "cat/brown_*", 300), SOURCE, contribute)


@pytest.mark.slow
@pytest.mark.process
def test_loop_learns_from_mistakes(figures):
    """The second model is right on more held-back corrections, no worse on the test photos, and promoted."""
    corrections, paired = figures.corrections, figures.paired
    assert (300, 90) == (figures.base_photos, figures.shown)
    assert figures.mistakes >= 40
    assert figures.accepted >= 0.9 * figures.mistakes
    assert corrections["photos"] >= 5
    assert corrections["challenger"] > corrections["champion"] + corrections["photos"] / 2
    assert paired["lost"] <= paired["gained"] + 1
    assert figures.promoted, figures.reason
    sentence = f"the new model is right on {corrections['challenger']} of {corrections['photos']} photos that users"
    assert sentence in figures.reason
