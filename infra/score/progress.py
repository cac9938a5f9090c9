"""Track the progress of a job: a state file beside its output, and the wait for its results."""

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from infra.score.gather import count_results
from infra.score.listing import S3Path
from infra.score.queue import PHOTOS_PER_MESSAGE, count_messages

POLL_S = 5.0
QUIET_S = 60.0  # AWS documents that SQS's counts are correct a minute after the last message at the latest


class Unfinished(Exception):
    """Some photos have neither a prediction nor an error, or the job cannot be resumed."""


@dataclass
class Progress:
    """The state of a job."""

    source: str
    queue: str
    results: str
    job: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}")  # the folder of its results
    photos: int = 0  # sent so far
    last_key: str = ""  # of the photos sent so far
    complete: bool = False  # all photos are sent
    extra_messages: int = 0  # a dead letter of N photos is retried as N messages, N - 1 more than before

    @property
    def messages(self) -> int:
        """The expected number of result objects."""
        return -(-self.photos // PHOTOS_PER_MESSAGE) + self.extra_messages

    @classmethod
    def read(cls, path: Path, source: str, queue: str, results: str) -> "Progress":
        """Return the state in the file, or that of a new job. Raise `Unfinished` if the file belongs to another job."""
        new = cls(source, queue, results)
        if not path.exists():
            return new
        try:
            stored = cls(**json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise Unfinished(
                f"{path} is not a state file of this program; delete it to start the job from the beginning"
            ) from None
        for name in ("source", "queue", "results"):
            actual, expected = getattr(stored, name), getattr(new, name)
            if actual != expected:
                raise Unfinished(f"{path} belongs to the {name} {actual}; expected {expected}, or another --out")
        return stored

    def write(self, path: Path) -> None:
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(asdict(self)))
        partial.replace(path)


def wait_for_results(s3: Any, sqs: Any, folder: S3Path, messages: int, *, queue: str, dead_letters: str) -> None:
    """Return when all messages have results.

    Give up after `QUIET_S` without a new result, if the queue is empty or has at least as many dead letters as results
    are missing. The second condition is needed because S3's notifications may keep the queue from ever being empty.
    """
    last_change = poll_start = time.monotonic()
    with tqdm(total=messages, desc="scoring", unit=" messages") as bar:
        while (done := count_results(s3, folder)) < messages:
            missing = messages - done
            if done > bar.n or (count_messages(sqs, queue) and count_messages(sqs, dead_letters) < missing):
                last_change = time.monotonic()
            if time.monotonic() - last_change >= QUIET_S:
                return
            bar.update(done - bar.n)
            # Listing a million objects takes a minute or two, and costs half a cent.
            time.sleep(max(POLL_S, 3 * (time.monotonic() - poll_start)))
            poll_start = time.monotonic()
        bar.update(messages - bar.n)
