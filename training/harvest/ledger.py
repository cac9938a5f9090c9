"""Record decided contributions in data/contributions.csv, which is committed and contains only hashes.

A row has the SHA-256 of the photo, the SHA-256 of the request ID, and the decision. Request IDs are random UUIDs, so
their hashes reveal nothing; they link the photos of a contributor only if the client sent all under one ID. Rows are
sorted by hash, so that their order does not reveal when a photo arrived. A forgotten photo also has its MD5, by which
DVC names its copies.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from training.csv_file import read_lines, write_rows
from training.harvest.contributed_photo import HarvestError
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels

LEDGER = Path("data/contributions.csv")
ACCEPTED, REJECTED, FORGOTTEN = "accepted", "rejected", "forgotten"


class LedgerRow(NamedTuple):
    photo: str  # SHA-256
    request: str  # SHA-256 of the request ID
    decision: str
    md5: str = ""  # of a forgotten photo, if a copy was found


def hash_request(request_id: str) -> str:
    return hashlib.sha256(request_id.encode()).hexdigest()


def read_ledger(path: Path = LEDGER) -> set[LedgerRow]:
    """Return all rows, or nothing without a ledger. Raise `HarvestError` if the header or a line is damaged.

    Ledgers of earlier versions have no column `md5`.
    """
    if not path.exists():
        return set()
    lines = read_lines(path, LedgerRow._fields[:-1], HarvestError, "restore the file with `git checkout`")
    return {LedgerRow(**{name: row.get(name, "") for name in LedgerRow._fields}) for _, row in lines}


def write_ledger(rows: Iterable[LedgerRow]) -> None:
    write_rows(LEDGER, LedgerRow._fields, (row._asdict() for row in sorted(set(rows))))


def check_complete() -> None:
    """Raise `HarvestError` if accepted photos are missing: training or a new version would lack them."""
    present = {Path(path).stem for path in read_folder_labels(CONTRIBUTIONS)}
    accepted = {row.photo for row in read_ledger() if row.decision == ACCEPTED}
    if missing := accepted - present:
        raise HarvestError(
            f"{CONTRIBUTIONS} lacks {len(missing)} of {len(accepted)} accepted photos, such as {min(missing)}; run "
            "`make dvc-pull` first"
        )


def check_recorded() -> None:
    """Raise `HarvestError` if there are photos that the ledger does not list as accepted."""
    accepted = {row.photo for row in read_ledger() if row.decision == ACCEPTED}
    if extra := {Path(path).stem for path in read_folder_labels(CONTRIBUTIONS)} - accepted:
        raise HarvestError(
            f"{CONTRIBUTIONS} has {len(extra)} photos that {LEDGER} does not list as accepted, such as {min(extra)}; "
            "repeat an interrupted `make accept`, or run `.venv/bin/dvc checkout data/contributions.dvc` after a revert"
        )
