"""Copy new contributions to the folder of a review, in the layout of a container's contributions.

Photos are written atomically, so an interrupted download resumes with the missing photos.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from lambda_app.contributions.contribution import format_metadata
from training.figures import replacing, write_json
from training.harvest.contributed_photo import Entry, HarvestError, Sender
from training.harvest.contribution_storage import THREADS, UNAVAILABLE, Storage
from training.source import sha256


def download(storage: Storage, entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """Copy the entries that the folder lacks, and those whose copy was changed, such as rotated.

    Return the entries with valid metadata and the content of their hash.
    """

    def fetch(entry: Entry) -> Entry | None:
        path = folder / entry.path
        is_copied = path.exists() and sha256(path) == entry.sha256
        return entry if is_copied or _copy(storage, entry, path) else None

    with ThreadPoolExecutor(THREADS) as pool:
        try:
            found = list(tqdm(pool.map(fetch, entries), total=len(entries), desc="download", unit="photo"))
        except UNAVAILABLE as error:
            raise HarvestError(f"cannot download: {error}; run the same command again to resume") from None
        finally:
            pool.shutdown(cancel_futures=True)
    return [entry for entry in found if entry is not None]


def copy_senders(senders: Iterable[Sender], folder: Path) -> None:
    """Record in the folder of a review which request contributed which photo; `make accept` reads these records."""
    for sender in senders:
        path = folder / sender.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _copy(storage: Storage, entry: Entry, path: Path) -> bool:
    """Write metadata and photo. If either is invalid, report it, write nothing, and return False."""
    try:
        data, origin = storage.read(entry)
    except HarvestError as error:  # one invalid object must not stop the review of all others
        print(f"warning: {error}; it is ignored")
        return False
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        print(f"warning: {entry.key} is ignored: its content does not match the hash in its name")
        return False
    metadata = format_metadata(origin.request_id, origin.prediction, origin.confidence, origin.time)
    write_json(path.with_suffix(".json"), metadata, indent=None)
    with replacing(path) as partial:
        partial.write_bytes(data)
    return True
