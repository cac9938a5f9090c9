"""`make harvest`: download new contributions, screen them, and write review.html and decisions.csv for a reviewer.

If interrupted, run the command again to resume. Decisions of an earlier review in the same folder are kept.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from training import config
from training.harvest.contributed_photo import Candidate, Entry, HarvestError
from training.harvest.contribution_storage import UNAVAILABLE, open_storage
from training.harvest.data_set import CONTRIBUTIONS, read_folder_labels
from training.harvest.decisions import (
    DECISIONS,
    DECISIONS_FILE,
    HARVESTED,
    PROPOSALS,
    keep_decisions,
    read_changed,
    write_decisions,
)
from training.harvest.download import copy_senders, download
from training.harvest.known_photos import read_known
from training.harvest.label_audit import audit
from training.harvest.ledger import check_recorded, read_ledger
from training.harvest.review_page import write_page
from training.harvest.screening import apply_caps, propose, screen_duplicates
from training.interruption import exit_when_interrupted
from training.manifest import MANIFEST, list_classes, read_manifest
from training.prepare import inspect_photos
from training.source import Source


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.harvest", description=__doc__)
    parser.add_argument("source", help="s3://BUCKET/contributed/, or the folder that a container writes")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the review")
    options = parser.parse_args(arguments)
    with exit_when_interrupted(lambda: "interrupted; run the same command again to resume"):
        harvest(options.source, options.out)


def harvest(source: str, folder: Path) -> list[Candidate]:
    """Download and screen the contributions without a decision; write the files of the review."""
    if not MANIFEST.exists():
        raise HarvestError(
            f"{MANIFEST} does not exist; run `make train` first: contributions are compared with its photos"
        )
    check_recorded()
    storage = open_storage(source)
    try:
        listed, senders = list(storage.list_entries()), list(storage.list_senders())
    except UNAVAILABLE as error:
        raise HarvestError(f"{source} cannot be listed: {error}") from None
    decided = {row.photo for row in read_ledger()}
    folder.mkdir(parents=True, exist_ok=True)
    copy_senders(senders, folder)
    entries = download(storage, [entry for entry in listed if entry.sha256 not in decided], folder)
    reviewed = read_changed(folder)
    candidates = screen(entries, {entry.sha256: entry.day for entry in listed}, folder, reviewed)
    names = list_classes(read_manifest())
    # Proposals leave the reviewer's decisions out, so that these still differ from the proposals at the next harvest.
    write_decisions([c for c in candidates if c.sha256 not in reviewed], folder, PROPOSALS)
    write_decisions(candidates, folder, HARVESTED)
    write_decisions(candidates, folder)
    page = write_page(candidates, names, folder)
    counts = Counter(candidate.decision for candidate in candidates)
    proposed = ", ".join(f"{name} {counts[name]}" for name in DECISIONS)
    print(f"{len(listed)} contributions, {len(candidates)} new photos: {proposed}")
    for reason, count in Counter(c.reason for c in candidates if c.reason).most_common():
        print(f"  {count} {reason}")
    print(
        f"review {page}, replace {folder / DECISIONS_FILE} with the file that it saves, then run "
        f"`make accept OUT={folder}`"
    )
    return candidates


def screen(
    entries: Sequence[Entry], days: dict[str, str], folder: Path, reviewed: Mapping[str, Candidate]
) -> list[Candidate]:
    """Return the candidates with decisions: duplicates, audit of labels, the reviewer's decisions, then caps."""
    rows, limits = read_manifest(), config.load(config.Harvest)
    candidates = propose(entries, folder, list_classes(rows))
    labels = {candidate.path: candidate.label for candidate in candidates}
    inspected = {row.sha256: row for row in inspect_photos(Source(folder), labels)} if labels else {}
    bits = config.load(config.Prepare).near_duplicate_bits
    candidates = screen_duplicates(candidates, inspected, read_known(rows), bits)
    readable = [c for c in candidates if not inspected[c.sha256].reason]
    audited = {candidate.sha256: candidate for candidate in audit(readable, folder, rows, limits)}
    candidates = [audited.get(candidate.sha256, candidate) for candidate in candidates]
    accepted = {Path(path).stem: label for path, label in read_folder_labels(CONTRIBUTIONS).items()}
    return apply_caps(keep_decisions(candidates, reviewed), days, accepted, reviewed, limits)


if __name__ == "__main__":
    main()
