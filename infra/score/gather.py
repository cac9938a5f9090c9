"""The results of a job, from many small objects of JSON lines into one Parquet file, one row a photo."""

import json
import tempfile
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from botocore.exceptions import BotoCoreError
from tqdm import tqdm

from infra.score.dead_letters import GAVE_UP
from infra.score.listing import Place

NUMBERS = pa.map_(pa.string(), pa.float64())
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("bucket", "key", "version", "etag", "model_version", "predicted_class")),
        *(("confidence", pa.float64()), ("unknown", pa.bool_()), ("probabilities", NUMBERS), ("signals", NUMBERS)),
        *(("error_code", pa.string()), ("error_message", pa.string())),
    ]
)
# A photo's lines meet in one of so many files: of 100 million lines, 400,000 are in memory at a time.
PARTS = 256
THREADS = 16
BODIES = 3  # attempts at what breaks off amid an object: botocore repeats only what comes before its first byte


def gather(s3: Any, folder: Place, out: Path) -> Counter[str]:
    """How many rows there are by their `error_code`, "" without one.

    A photo that has several lines, because it was named twice, keeps the one that was written last. That it was given
    up counts only where there is no other.
    """
    partial = out.with_name(f"{out.name}.partial")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder_of_parts:
        parts = [Path(folder_of_parts, str(number)) for number in range(PARTS)]
        _share_out(tqdm(_objects(s3, folder), "gathering", unit=" objects"), parts)
        counts: Counter[str] = Counter()
        with pyarrow.parquet.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            for part in parts:
                rows = [json.loads(line) for line in _newest(part)]
                counts.update(row.get("error_code") or "" for row in rows)
                writer.write_table(pa.Table.from_pylist([_flat(row) for row in rows], SCHEMA))
    partial.replace(out)
    return counts


def count(s3: Any, folder: Place) -> int:
    """Of messages that are done. Done twice, by another model, one counts once."""
    return len({found["Key"].rpartition("/")[2] for found in _listed(s3, folder)})


def _listed(s3: Any, folder: Place) -> Iterator[dict[str, Any]]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=folder.bucket, Prefix=folder.key)
    return (found for page in pages for found in page.get("Contents", ()))


def _objects(s3: Any, folder: Place) -> Iterator[tuple[float, bytes]]:
    """When it was written, and its bytes; the next ones are on their way."""

    def read(found: dict[str, Any]) -> tuple[float, bytes]:
        written = 0.0 if f"/{GAVE_UP}/" in found["Key"] else found["LastModified"].timestamp()
        return written, _body(s3, folder.bucket, found["Key"])

    with ThreadPoolExecutor(THREADS) as threads:
        waiting: deque[Future[tuple[float, bytes]]] = deque()
        for found in _listed(s3, folder):
            waiting.append(threads.submit(read, found))
            if len(waiting) == 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _body(s3: Any, bucket: str, key: str) -> bytes:
    for _ in range(BODIES - 1):
        with suppress(BotoCoreError):
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def _share_out(objects: Iterable[tuple[float, bytes]], parts: list[Path]) -> None:
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("wb")) for part in parts]
        for written, body in objects:
            for line in body.splitlines():
                files[zlib.crc32(_photo(line)) % len(files)].write(b"%.3f\t%s\n" % (written, line))


def _newest(part: Path) -> Iterable[bytes]:
    newest: dict[bytes, tuple[float, bytes]] = {}
    with part.open("rb") as lines:
        for entry in lines:
            written, _, line = entry.partition(b"\t")
            photo = _photo(line)
            newest[photo] = max(newest.get(photo, (0.0, b"")), (float(written), line))
    return (line for _, line in newest.values())


def _photo(line: bytes) -> bytes:
    """Bucket, key and version, as lambda_app/batch/handler.py begins each line; quotes in a name would be escaped."""
    return line.partition(b', "etag": ')[0]


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Maps as Arrow wants them: pairs."""
    return row | {name: list(row[name].items()) for name in ("probabilities", "signals") if name in row}
