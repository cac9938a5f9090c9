"""Score the photos in S3: send their keys to the queue, wait, and gather the results into one Parquet file.

If interrupted, run the same command again to resume. Exits with 0 if every photo has a prediction or an error, 1 if
some photos have neither or a call fails, and 2 for bad arguments. `--gather` does not look for missing photos.

    python -m infra.score s3://photos/2026/ --queue URL --results s3://results/pets/ --out predictions.parquet
    python -m infra.score --gather notified --results s3://results/pets/ --out predictions.parquet
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from tqdm import tqdm

from infra.score.dead_letters import process_dead_letters
from infra.score.gather import THREADS, gather
from infra.score.listing import NotAnInventory, list_photos, parse_s3_path
from infra.score.progress import Progress, Unfinished, wait_for_results
from infra.score.queue import QueueRefused, count_messages, dead_letter_queue, enqueue

CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 10}, max_pool_connections=THREADS)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        counts = gather_job(options) if options.gather else score(options)
    except (BotoCoreError, ClientError, NotAnInventory, OSError, QueueRefused, Unfinished, duckdb.Error) as error:
        print(f"score: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("score: interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    errors = ", ".join(f"{code} {count}" for code, count in counts.items() if code)
    print(f"{counts.total()} photos in {options.out}" + (f"; no prediction: {errors}" if errors else ""))
    return 0


def score(options: argparse.Namespace) -> Counter[str]:
    """Return the number of rows by `error_code`. Raise `Unfinished` if photos are missing."""
    s3, sqs = (Session().create_client(service, config=CONFIG) for service in ("s3", "sqs"))
    state = options.out.with_name(f"{options.out.name}.progress")
    progress = Progress.read(state, str(options.source), options.queue, str(options.results))
    dead_letters = dead_letter_queue(sqs, options.queue)
    folder = options.results.folder(progress.job)
    send_keys(s3, sqs, options, progress, state)
    if not progress.photos:
        state.unlink(missing_ok=True)
        raise Unfinished(f"{options.source}: expected photos, found none")
    if options.retry:
        retry_dead_letters(s3, sqs, options, dead_letters, progress, state)
    wait_for_results(s3, sqs, folder, progress.messages, queue=options.queue, dead_letters=dead_letters)
    counts = gather(s3, folder, options.out)
    if counts.total() < progress.photos:
        missing = f"{progress.photos - counts.total()} of {progress.photos} photos"
        raise Unfinished(
            f"{missing} have neither a prediction nor an error in {folder}; {count_messages(sqs, dead_letters)} "
            "messages are dead letters: fix the cause in the function's log, then use --retry"
        )
    state.unlink()
    return counts


def gather_job(options: argparse.Namespace) -> Counter[str]:
    """Gather the results of a job as they are, without waiting. Raise `Unfinished` if there are none."""
    folder = options.results.folder(options.gather)
    counts = gather(Session().create_client("s3", config=CONFIG), folder, options.out)
    if not counts:
        raise Unfinished(f"{folder}: expected results, found none")
    return counts


def send_keys(s3: Any, sqs: Any, options: argparse.Namespace, progress: Progress, state: Path) -> None:
    """Send the remaining keys. After a crash, keys that the state file lacks are sent again, which is idempotent."""
    if progress.complete:
        return
    progress.write(state)
    bucket, keys = list_photos(
        s3, options.source, results=options.results, skip=progress.photos, last_key=progress.last_key
    )
    with tqdm(desc="sending", unit=" photos", initial=progress.photos) as bar:
        for sent in enqueue(sqs, options.queue, progress.job, bucket, keys):
            progress.photos, progress.last_key = progress.photos + len(sent), sent[-1]
            progress.write(state)
            bar.update(len(sent))
    progress.complete = True
    progress.write(state)


def retry_dead_letters(
    s3: Any, sqs: Any, options: argparse.Namespace, dead_letters: str, progress: Progress, state: Path
) -> None:
    """Process all dead letters: of this job, of other jobs, and of S3's notifications."""
    counts: Counter[str] = Counter()
    for outcome in process_dead_letters(s3, sqs, options.queue, dead_letters, options.results):
        if outcome.job == progress.job and outcome.retried:
            progress.extra_messages += outcome.retried - 1
            progress.write(state)
        counts.update(retried=outcome.retried, gave_up=outcome.gave_up, malformed=int(not outcome.job))
    print(f"photos of dead letters: {counts['retried']} sent again, each alone; {counts['gave_up']} given up")
    if counts["malformed"]:
        print(f"{counts['malformed']} dead letters named no photo and were deleted")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument(
        "source", type=parse_s3_path, nargs="?", help="s3://BUCKET/PREFIX, or the manifest.json of an S3 Inventory"
    )
    job.add_argument("--gather", metavar="JOB", help="only gather; the job `notified` has the photos of notifications")
    parser.add_argument("--queue", help="the stack's output PhotosQueue")
    parser.add_argument("--results", type=parse_s3_path, required=True, help="the stack's output Results")
    parser.add_argument("--out", type=parse_parquet_path, default=Path("predictions.parquet"))
    parser.add_argument(
        "--retry",
        action="store_true",
        help="send each photo of a dead letter again, in its own message; give up photos whose own message failed",
    )
    options = parser.parse_args(arguments)
    if options.source and not options.queue:
        parser.error("argument --queue: expected the stack's output PhotosQueue")
    if options.gather and options.retry:
        parser.error("argument --retry: needs a source and --queue; --gather only reads results")
    if not str(options.results).endswith("/"):
        parser.error(f"argument --results: {options.results}: expected the stack's output Results, which ends with /")
    return options


def parse_parquet_path(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".parquet" or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: expected FILE.parquet in a folder that exists")
    return path


if __name__ == "__main__":
    sys.exit(main())
