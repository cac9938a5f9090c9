"""Scores photos in S3 by the million: names them to the queue, waits, and gathers the results into a Parquet file.

Called again after Ctrl-C it goes on where it was. Exit code 0 only if every photo has its result or its reason; 1 where
some have neither, 2 for bad arguments.

    python -m infra.score_s3 s3://photos/2026/ --queue URL --results s3://results/pets/ --out predictions.parquet
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from tqdm import tqdm

from infra.score.photos import NotAnInventory, Place, bucket_of, photos
from infra.score.queue import PER_MESSAGE, QueueRefused, dead_letters, enqueue, left, retry
from infra.score.results import THREADS, gather

CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 10}, max_pool_connections=THREADS)
POLL_S = 5.0
QUIET = 3  # polls that find nothing, for SQS counts roughly


class Unfinished(Exception):
    """Some photos have neither a result nor a reason; the message says how many."""


@dataclass
class Progress:
    """How far the naming has come: a file beside the output."""

    source: str
    job: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}")  # the folder of its results
    photos: int = 0
    last: str = ""  # key
    complete: bool = False

    @classmethod
    def read(cls, path: Path, source: Place) -> "Progress":
        """Raises Unfinished where it is about other photos."""
        found = cls(**json.loads(path.read_text())) if path.exists() else cls(str(source))
        if found.source != str(source):
            raise Unfinished(f"{path} is about {found.source}; expected {source}, or another output")
        return found

    def write(self, path: Path) -> None:
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(asdict(self)))
        partial.replace(path)


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    try:
        counts = score(options)
    except (BotoCoreError, ClientError, NotAnInventory, OSError, QueueRefused, Unfinished) as error:
        print(f"score: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("score: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    reasons = ", ".join(f"{code} {count}" for code, count in counts.items() if code)
    print(f"{counts.total()} photos in {options.out}" + (f"; no prediction: {reasons}" if reasons else ""))
    return 0


def score(options: argparse.Namespace) -> Counter[str]:
    """How many rows there are by `error_code`. Raises Unfinished where some are missing."""
    session = Session()
    s3, sqs = (session.create_client(service, config=CONFIG) for service in ("s3", "sqs"))
    state = options.out.with_name(f"{options.out.name}.progress")
    progress = Progress.read(state, options.source)
    dead = dead_letters(sqs, options.queue)
    name(s3, sqs, options, progress, state)
    if options.retry:
        print(f"{retry(sqs, options.queue, dead)} photos of dead letters are tried again, each in a message of its own")
    wait(sqs, options.queue, -(-progress.photos // PER_MESSAGE))
    folder = Place(options.results.bucket, f"{options.results.key}{progress.job}/")
    counts = gather(s3, folder, options.out)
    if counts.total() < progress.photos:
        missing = f"{progress.photos - counts.total()} of {progress.photos} photos have neither a result nor a reason"
        letters = f"{left(sqs, dead)} messages are dead letters: see the function's log, then --retry"
        raise Unfinished(f"{missing} in {folder}; {letters}")
    state.unlink()
    return counts


def name(s3: Any, sqs: Any, options: argparse.Namespace, progress: Progress, state: Path) -> None:
    """Names to the queue what was not named yet. What was sent but not written down is sent again, to no effect."""
    if progress.complete:
        return
    progress.write(state)
    bucket = bucket_of(s3, options.source)
    keys = photos(s3, options.source, results=options.results, done=progress.photos, last=progress.last)
    with tqdm(desc="naming", unit=" photos", initial=progress.photos) as bar:
        for sent in enqueue(sqs, options.queue, progress.job, bucket, keys):
            progress.photos, progress.last = progress.photos + len(sent), sent[-1]
            progress.write(state)
            bar.update(len(sent))
    progress.complete = True
    progress.write(state)


def wait(sqs: Any, queue: str, messages: int) -> None:
    """Until the queue is empty."""
    quiet = 0
    with tqdm(total=messages, desc="scoring", unit=" messages") as bar:
        while quiet < QUIET:
            waiting = left(sqs, queue)
            bar.update(max(0, messages - waiting - bar.n))
            quiet = 0 if waiting else quiet + 1
            time.sleep(POLL_S)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.score_s3", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=place, help="s3://BUCKET/PREFIX, or the manifest.json of an S3 Inventory")
    parser.add_argument("--queue", required=True, help="the stack's output PhotosQueue")
    parser.add_argument("--results", type=place, required=True, help="the stack's output Results")
    parser.add_argument("--out", type=parquet, default=Path("predictions.parquet"))
    parser.add_argument("--retry", action="store_true", help="name the photos of dead letters again, one a message")
    return parser.parse_args(arguments)


def place(text: str) -> Place:
    try:
        return Place.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parquet(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".parquet" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: expected FILE.parquet in a folder that exists")
    return path


if __name__ == "__main__":
    sys.exit(main())
