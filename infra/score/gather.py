"""Gather the results of a job: many small objects of JSON lines become one Parquet file with one row per photo."""

import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
from botocore.exceptions import BotoCoreError
from tqdm import tqdm

from infra.score.dead_letters import GAVE_UP
from infra.score.listing import S3Path

COLUMNS = {
    **dict.fromkeys(("bucket", "key", "version", "etag", "model_version", "predicted_class"), "VARCHAR"),
    "confidence": "DOUBLE",
    "unknown": "BOOLEAN",
    **dict.fromkeys(("probabilities", "signals"), "MAP(VARCHAR, DOUBLE)"),
    **dict.fromkeys(("error_code", "error_message"), "VARCHAR"),
}
# S3 dates objects to the second. The further columns make the order of simultaneous results reproducible.
LATEST = """
    CREATE VIEW latest AS
    SELECT * EXCLUDE written FROM results
    QUALIFY row_number() OVER (
        PARTITION BY bucket, key, version
        ORDER BY written DESC, etag DESC NULLS FIRST, model_version DESC NULLS FIRST
    ) = 1
"""
COUNT_BY_ERROR = "SELECT coalesce(error_code, ''), count(*) FROM read_parquet(?) GROUP BY ALL"
THREADS = 16
BODY_ATTEMPTS = 3  # botocore does not retry a response that breaks off after its first byte


def gather(s3: Any, folder: S3Path, output: Path) -> Counter[str]:
    """Write one row per photo, and return the number of rows by `error_code`, "" for rows without an error.

    A photo that was scored several times keeps its latest result. A result with the error `gave_up` counts only if
    there is no other. The results, and what DuckDB does not hold in memory, are on the disk of the output.
    """
    partial = output.with_name(f"{output.name}.partial")
    with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
        _download(s3, folder, Path(scratch, "results.jsonl"))
        try:
            counts = _merge(Path(scratch), partial)
        except RuntimeError as error:
            if str(error) != "Query interrupted":  # as DuckDB reports Ctrl-C
                raise
            raise KeyboardInterrupt from error
    partial.replace(output)
    return counts


def count_results(s3: Any, folder: S3Path) -> int:
    """Return the number of messages with at least one result. A message scored by two models counts once."""
    return len({item["Key"].rpartition("/")[2] for item in _list(s3, folder)})


def _list(s3: Any, folder: S3Path) -> Iterator[dict[str, Any]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=folder.bucket, Prefix=folder.key)
    return (item for page in pages for item in page.get("Contents", ()))


def _download(s3: Any, folder: S3Path, path: Path) -> None:
    """Write the lines of all objects to one file, each with the time when its object was written as its first field."""
    with path.open("wb") as file, ThreadPoolExecutor(THREADS) as threads:
        pending: deque[Future[bytes]] = deque()
        for item in tqdm(_list(s3, folder), "gathering", unit=" objects"):
            pending.append(threads.submit(_read, s3, folder.bucket, item))
            if len(pending) == 2 * THREADS:
                file.write(pending.popleft().result())
        for future in pending:
            file.write(future.result())


def _read(s3: Any, bucket: str, item: dict[str, Any]) -> bytes:
    # A message that was given up counts as the oldest, so that any other result of the photo replaces its own.
    written = 0.0 if f"/{GAVE_UP}/" in item["Key"] else item["LastModified"].timestamp()
    lines = _fetch(s3, bucket, item["Key"]).splitlines()
    return b"".join(b'{"written": %.3f, %s\n' % (written, line.removeprefix(b"{")) for line in lines)


def _fetch(s3: Any, bucket: str, key: str) -> bytes:
    for _ in range(BODY_ATTEMPTS - 1):
        with suppress(BotoCoreError):
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _merge(scratch: Path, output: Path) -> Counter[str]:
    columns = {"written": "DOUBLE"} | COLUMNS
    with duckdb.connect() as database:
        database.execute("SET temp_directory = ?", [f"{scratch}/spilled"])  # DuckDB deletes the folder
        results = database.read_json(f"{scratch}/results.jsonl", format="newline_delimited", columns=columns)
        results.create_view("results")
        database.execute(LATEST)
        database.view("latest").write_parquet(str(output), compression="zstd")
        return Counter(dict(database.execute(COUNT_BY_ERROR, [str(output)]).fetchall()))
