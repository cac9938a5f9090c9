"""Test that the commit in a file of figures is the one that was measured."""

from functools import partial

import pytest

from infra.bench import batch, decoding, fuzz, predict_batch, telemetry


class CommitRead(Exception):
    """The measurement read its commit."""


@pytest.mark.parametrize(
    ("measure", "first_step"),
    [
        (partial(batch.measure, 1), "batch.moto_server"),
        (decoding.measure, "decoding.large_files"),
        (partial(fuzz.measure, 1, 1), "fuzz.make_originals"),
        (partial(predict_batch.measure, 1), "predict_batch.first_photo"),
        (partial(telemetry.measure, 1), "telemetry.first_photo"),
    ],
    ids=["batch", "decoding", "fuzz", "predict_batch", "telemetry"],
)
def test_commit_is_read_before_the_measurement(measure, first_step, monkeypatch):
    """The commit is read before the measurement, because later edits are not what runs."""
    module = first_step.split(".")[0]

    def read_commit():
        raise CommitRead

    monkeypatch.setattr(f"infra.bench.{module}.identify", read_commit)
    monkeypatch.setattr(f"infra.bench.{first_step}", lambda: pytest.fail("measured before the commit was read"))
    with pytest.raises(CommitRead):
        measure()
