"""`make accept`: add the accepted photos of a review to data/contributions, and record all decisions in the ledger.

A tenth of the photos, by hash, goes to the held-back folders: no model is ever trained on them, and the release stage
compares champion and challenger on them. File names are hashes; nothing in the data set identifies the contributor of a
photo or the time of the contribution.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from training.figures import replacing
from training.harvest.contributed_photo import Candidate, HarvestError, parse_key
from training.harvest.contribution_storage import Folder
from training.harvest.data_set import (
    ACCEPTED_FOLDER,
    CONFIRMED,
    CONTRIBUTIONS,
    CORRECTED,
    HELD_BACK_FOLDER,
    read_folder_labels,
)
from training.harvest.decisions import ACCEPT, DECISIONS_FILE, HOLD, REJECT, is_unchanged, read_changed, read_decisions
from training.harvest.dvc_folder import POINTER, track
from training.harvest.ledger import (
    ACCEPTED,
    LEDGER,
    REJECTED,
    LedgerRow,
    check_complete,
    check_recorded,
    hash_request,
    read_ledger,
    write_ledger,
)
from training.harvest.review_page import PAGE
from training.manifest import list_classes, read_manifest
from training.split import hash_to_share

HELD_BACK_SHARE = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.harvest.accept", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the review")
    parser.add_argument("--unchanged", action="store_true", help="accept the proposals although no review was saved")
    options = parser.parse_args(arguments)
    accept(options.out, allow_unchanged=options.unchanged)


def accept(folder: Path, *, allow_unchanged: bool = False) -> None:
    """Copy accepted photos, track them, then write the ledger. Every step is idempotent, so the command can repeat.

    Raise `HarvestError` if no one saved a review, unless `allow_unchanged` accepts the proposals as they are.
    """
    candidates, names = read_decisions(folder), list_classes(read_manifest())
    check_complete()
    ledger = read_ledger()
    done = {row.photo for row in ledger}
    undecided = [candidate for candidate in candidates if candidate.sha256 not in done]
    new = [candidate for candidate in undecided if candidate.decision != HOLD]
    if not allow_unchanged:
        check_reviewed(new, folder)
    photos = {c.sha256: read_photo(c, folder, names) for c in new if c.decision == ACCEPT}
    is_repeated = remove_copies({candidate.sha256 for candidate in undecided})
    check_recorded()
    for candidate in new:
        if candidate.decision == ACCEPT:
            with replacing(CONTRIBUTIONS / choose_path(candidate)) as partial:
                partial.write_bytes(photos[candidate.sha256])
    if photos or is_repeated:
        track()
    write_ledger(ledger | decide(new, ledger, folder))
    report(new, Counter(choose_path(c).parts[0] for c in new if c.decision == ACCEPT))


def check_reviewed(new: Sequence[Candidate], folder: Path) -> None:
    """Raise `HarvestError` if decisions.csv is as the harvest wrote it and accepts photos that no one reviewed."""
    reviewed = read_changed(folder)
    proposed = sum(c.decision == ACCEPT and c.sha256 not in reviewed for c in new)
    if proposed and is_unchanged(folder):
        raise HarvestError(
            f"{folder / DECISIONS_FILE} is unchanged since `make harvest` wrote it, and accepts {proposed} photos; "
            f"replace it with the file that {folder / PAGE} saves, or run `make accept OUT={folder} UNCHANGED=1` to "
            "accept the proposals as they are"
        )


def remove_copies(photos: set[str]) -> bool:
    """Remove photos that an interrupted run copied, and return whether there were any.

    The reviewer may have changed their labels or decisions since.
    """
    copies = [path for path in read_folder_labels(CONTRIBUTIONS) if Path(path).stem in photos]
    for path in copies:
        (CONTRIBUTIONS / path).unlink()
    return bool(copies)


def read_photo(candidate: Candidate, folder: Path, names: Sequence[str]) -> bytes:
    """Return the photo of a row. Raise `HarvestError` if its class is unknown, or its file is missing or changed."""
    line = f"{folder / DECISIONS_FILE}: photo {candidate.sha256}"
    if candidate.label not in names:
        raise HarvestError(f"{line} has the label {candidate.label!r}; expected {', '.join(names)}, or reject it")
    entry = parse_key(candidate.path, day="")
    if entry is None or entry.path != candidate.path or entry.sha256 != candidate.sha256:
        raise HarvestError(f"{line} has the path {candidate.path!r}; expected the path that `make harvest` wrote")
    path = folder / candidate.path
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != candidate.sha256:
        raise HarvestError(f"{path} is missing or was changed; run `make harvest` again")
    return data


def choose_path(candidate: Candidate) -> Path:
    """Return the path of a photo below data/contributions."""
    name = f"{candidate.sha256}.jpg"
    if not is_held_back(candidate.sha256):
        return Path(ACCEPTED_FOLDER, candidate.label, name)
    part = CONFIRMED if candidate.label == candidate.prediction else CORRECTED
    return Path(HELD_BACK_FOLDER, part, candidate.label, name)


def is_held_back(sha256: str) -> bool:
    """Return whether a photo belongs to the tenth with the highest hashes.

    With the default `prepare.train_share`, `training.split.split_by_hash` assigns the same tenth to the test split.
    """
    return hash_to_share(sha256) >= 1 - HELD_BACK_SHARE


def decide(candidates: Sequence[Candidate], ledger: set[LedgerRow], folder: Path) -> set[LedgerRow]:
    """Return a row for each request that contributed one of the photos, or a photo that is already in the ledger."""
    names = {ACCEPT: ACCEPTED, REJECT: REJECTED}
    new = {c.sha256: LedgerRow(c.sha256, "", names[c.decision]) for c in candidates}
    rows, copies = {row.photo: row for row in ledger} | new, Folder(folder)
    senders = {(sender.sha256, sender.request_id) for sender in copies.list_senders()}
    senders |= {(e.sha256, copies.read_origin(e).request_id) for e in copies.list_entries() if e.sha256 in new}
    return {rows[photo]._replace(request=hash_request(request)) for photo, request in senders if photo in rows}


def report(new: Sequence[Candidate], parts: Counter[str]) -> None:
    rejected = sum(candidate.decision == REJECT for candidate in new)
    print(f"accepted {parts.total()} photos ({parts.total() - parts[ACCEPTED_FOLDER]} held back), rejected {rejected}")
    if new:
        print(
            f"commit {POINTER} and {LEDGER}, run `make dvc-push`; to undo this review, revert that commit and run "
            f"`.venv/bin/dvc checkout {POINTER}`"
        )


if __name__ == "__main__":
    main()
