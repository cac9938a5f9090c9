"""Waiting for a job: until it has its results, or nothing more can come."""

import time
from typing import Any

from tqdm import tqdm

from infra.score.gather import count
from infra.score.listing import Place
from infra.score.queue import left

POLL_S = 5.0
QUIET_S = 60.0  # SQS' counts are right, AWS says, a minute after the last message at the latest


def wait(s3: Any, sqs: Any, folder: Place, messages: int, *, queue: str, dead: str) -> None:
    """The queue alone does not say when: S3's notifications may feed it too. What is missing may be dead letters."""
    news = began = time.monotonic()
    with tqdm(total=messages, desc="scoring", unit=" messages") as bar:
        while (done := count(s3, folder)) < messages:
            if done > bar.n or (left(sqs, queue) and left(sqs, dead) < messages - done):
                news = time.monotonic()
            if time.monotonic() - news >= QUIET_S:
                return
            bar.update(done - bar.n)
            # The list of a million objects takes a minute or two, and half a cent.
            time.sleep(max(POLL_S, 3 * (time.monotonic() - began)))
            began = time.monotonic()
        bar.update(messages - bar.n)
