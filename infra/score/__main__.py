"""Scores photos in S3 by the million: names them to the queue, waits, and gathers the results into a Parquet file.

Called again after Ctrl-C it goes on where it was. Exit code 0 only if every photo has its result or its reason; 1 where
some have neither, 2 for bad arguments.

    python -m infra.score s3://photos/2026/ --queue URL --results s3://results/pets/ --out predictions.parquet
    python -m infra.score --gather notified --results s3://results/pets/ --out predictions.parquet
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from tqdm import tqdm

from infra.score.dead_letters import handle
from infra.score.gather import THREADS, gather
from infra.score.listing import NotAnInventory, Place, bucket_of, photos
from infra.score.progress import Progress, Unfinished
from infra.score.queue import QueueRefused, dead_letters, enqueue, left
from infra.score.waiting import wait

CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 10}, max_pool_connections=THREADS)


def main(arguments: list[str] | None = None) -> int:
    options = parsed(arguments)
    try:
        counts = gather_only(options) if options.gather else score(options)
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
    s3, sqs = (Session().create_client(service, config=CONFIG) for service in ("s3", "sqs"))
    state = options.out.with_name(f"{options.out.name}.progress")
    progress = Progress.read(state, str(options.source), options.queue, str(options.results))
    dead = dead_letters(sqs, options.queue)
    folder = options.results.below(progress.job)
    name(s3, sqs, options, progress, state)
    if options.retry:
        retry(s3, sqs, options, dead, progress, state)
    wait(s3, sqs, folder, progress.messages, queue=options.queue, dead=dead)
    counts = gather(s3, folder, options.out)
    if counts.total() < progress.photos:
        missing = f"{progress.photos - counts.total()} of {progress.photos} photos have neither a result nor a reason"
        letters = f"{left(sqs, dead)} messages are dead letters: see the function's log, then --retry"
        raise Unfinished(f"{missing} in {folder}; {letters}")
    state.unlink()
    return counts


def gather_only(options: argparse.Namespace) -> Counter[str]:
    """As `score`, of a job that nobody waits for."""
    folder = options.results.below(options.gather)
    counts = gather(Session().create_client("s3", config=CONFIG), folder, options.out)
    if not counts:
        raise Unfinished(f"{folder}: expected results, found none")
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


def retry(s3: Any, sqs: Any, options: argparse.Namespace, dead: str, progress: Progress, state: Path) -> None:
    """All dead letters: of this job, of others, of S3's notifications."""
    told: Counter[str] = Counter()
    for letter in handle(s3, sqs, options.queue, dead, options.results):
        if letter.job == progress.job and letter.retried:
            progress.more += letter.retried - 1
            progress.write(state)
        told.update(retried=letter.retried, gave_up=letter.gave_up, unread=int(not letter.job))
    print(f"{told['retried']} photos of dead letters are tried again, each alone; {told['gave_up']} are given up")
    if told["unread"]:
        print(f"{told['unread']} dead letters named no photo and were deleted")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "source", type=place, nargs="?", help="s3://BUCKET/PREFIX, or the manifest.json of an S3 Inventory"
    )
    what.add_argument("--gather", metavar="JOB", help="only gather; `notified` is what S3's notifications named")
    parser.add_argument("--queue", help="the stack's output PhotosQueue")
    parser.add_argument("--results", type=place, required=True, help="the stack's output Results")
    parser.add_argument("--out", type=parquet, default=Path("predictions.parquet"))
    parser.add_argument(
        "--retry", action="store_true", help="name the photos of dead letters again, alone; then give them up"
    )
    options = parser.parse_args(arguments)
    if options.source and not options.queue:
        parser.error("argument --queue: expected the stack's output PhotosQueue")
    return options


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
