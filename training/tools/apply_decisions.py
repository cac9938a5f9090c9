"""`make suspects APPLY=1`: move decisions from artifacts/suspects.csv to data/set-aside.csv, which `prepare` reads."""

from training import config
from training.csv_file import Line
from training.interruption import UserError
from training.manifest import MANIFEST, read_all_rows
from training.reviewed import REVIEWED, Review, write_reviewed
from training.split import Row
from training.tools.suspect_list import (
    SUSPECTS,
    find_decided,
    parse_decision,
    read_suspect_lines,
    write_suspect_lines,
)


def main() -> None:
    """Check all lines before anything is written. If interrupted, the same command completes the work."""
    if not SUSPECTS.exists():
        raise UserError(f"{SUSPECTS} does not exist; `make suspects` writes it")
    lines = read_suspect_lines()
    decided = find_decided(lines)
    if not decided:
        print(f"no decision in {SUSPECTS}: write a class or 'set aside' into the column `decision`")
        return
    manifest = read_rows_by_hash()
    classes = {row.label for row in manifest.values() if row.split}
    aliases = config.load(config.Prepare).aliases
    reviews = {}
    for sha256, line in decided.items():
        check_photo(line, manifest)
        reviews[sha256] = (line.row["id"], parse_decision(line, classes, aliases))
    write_reviewed(reviews)
    write_suspect_lines([line.row for line in lines if not line.row["decision"].strip()])
    print(describe(reviews, manifest))


def read_rows_by_hash() -> dict[str, Row]:
    """Return the rows of the manifest by hash, also of photos that are set aside."""
    if not MANIFEST.exists():
        raise UserError(f"{MANIFEST} does not exist; `make suspects` writes it")
    return {row.sha256: row for row in read_all_rows() if row.sha256}


def check_photo(line: Line, manifest: dict[str, Row]) -> None:
    """Raise `UserError` if the photos do not contain the photo of a line."""
    if line.row["sha256"] not in manifest:
        raise UserError(
            f"{line.place}: no photo has the SHA-256 {line.row['sha256']!r} ({line.row['id']}); delete the line, or "
            "run `make suspects DATA=…` with the photos that it belongs to"
        )


def describe(reviews: dict[str, tuple[str, Review]], manifest: dict[str, Row]) -> str:
    """Return how many photos are relabeled, set aside and confirmed, and what to do next."""
    aside = [sha256 for sha256, (_, review) in reviews.items() if not review.label]
    confirmed = sum(review.label == manifest[sha256].label for sha256, (_, review) in reviews.items())
    relabeled = len(reviews) - len(aside) - confirmed
    tests = sum(manifest[sha256].split == "test" for sha256 in aside)
    kept = f" ({tests} of them stay in the test split)" if tests else ""
    return (
        f"{REVIEWED}: {relabeled} relabeled, {len(aside)} set aside{kept}, {confirmed} confirmed; "
        f"commit it, and run `make train` to train with these decisions"
    )


if __name__ == "__main__":
    main()
