"""`make loop-trial`: measure the feedback loop, with a first model that was trained without one kind of photo.

All stages run as in production, in a separate folder. The first model serves in Lambda's runtime. The photos of the
left-out kind that it misclassifies are contributed, harvested, reviewed and accepted, and a second model is trained
with them. The reviewer is simulated: because all labels are true, the trial accepts the photos that the audit holds,
and counts them.
"""

import argparse
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

from export import convert, quantize, release, verify
from export.experiments.loop_figures import FIGURES
from export.experiments.trial_server import Client, serve
from export.files import CARD, RELEASED
from export.registry import Registry
from training import ROOT, config, evaluate, prepare, train
from training.fetch import link, link_packaged_weights
from training.figures import read_figures, write_json
from training.harvest.__main__ import harvest
from training.harvest.accept import accept
from training.harvest.data_set import ACCEPTED_FOLDER, CONTRIBUTIONS, link_held_back, read_folder_labels
from training.harvest.decisions import ACCEPT, HOLD, write_decisions
from training.interruption import UserError
from training.manifest import read_manifest
from training.source import EXTRA, OUTLIERS, PHOTOS, Source

STAGES = (prepare, train, evaluate, convert, quantize, verify)
Photo = tuple[str, bytes]  # label and encoded photo


@dataclass(frozen=True)
class TrialFigures:
    """The measurements of a trial. artifacts/feedback_loop.json also has its arguments `kind` and `params`."""

    date: str
    base_photos: int  # photos of the first training
    shown: int  # photos of the kind; the first model classified all of them
    mistakes: int  # those that it misclassified; all of these were contributed
    held: int  # contributions that the audit held for the reviewer
    accepted: int
    corrections: dict[str, Any]  # see export.checks.corrections.Corrections
    before: float  # accuracy of the first model on the test split
    after: float  # accuracy of the second model
    paired: dict[str, Any]  # see export.checks.comparison.Paired
    promoted: bool
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="photos of classes: a folder or an archive")
    parser.add_argument("--kind", required=True, help="pattern of the photos to leave out, such as 'cat/Bombay_*'")
    parser.add_argument(
        "--photos", type=int, default=1500, help="maximum number of photos of the first training (default: %(default)s)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("artifacts/loop-trial"),
        help="a new folder for the trial (default: %(default)s)",
    )
    parser.add_argument(
        "--params",
        nargs="*",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="parameters that replace those of params.yaml",
    )
    options = parser.parse_args()
    if options.folder.exists():
        raise UserError(f"{options.folder} exists; delete it, or choose another one with --folder")
    overrides = dict(parse_override(text) for text in options.params)
    data = options.data.expanduser().resolve()
    with project(options.folder, overrides):
        base, left_out = choose_photos(data, options.kind, options.photos)
        storage = Path("contributions").resolve()
        storage.mkdir()
        figures = run(base, left_out, str(storage))
    write_json(FIGURES, {"kind": options.kind, "params": overrides} | asdict(figures))
    print(f"wrote {FIGURES}; `make docs` inserts the figures into training/README.md")


def parse_override(text: str) -> tuple[str, Any]:
    """Return name and value of a parameter. Raise `UserError` if the text has another form."""
    name, separator, value = text.partition("=")
    if not separator or name.count(".") != 1:
        raise UserError(f"{text!r}: expected SECTION.KEY=VALUE, such as train.image_size=128")
    return name, yaml.safe_load(value)


@contextmanager
def project(folder: Path, overrides: dict[str, Any]) -> Iterator[None]:
    """Make a new folder with its own params.yaml, MLflow store and DVC repository the working directory."""
    folder.mkdir(parents=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, value in overrides.items():
        section, key = name.split(".")
        params[section][key] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    previous = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder.resolve()}/mlflow.db"
    try:
        with chdir(folder):
            Repo.init(no_scm=True).close()
            for path in (EXTRA, OUTLIERS, RELEASED.parent, CARD.parent):
                path.mkdir(parents=True)
            link_packaged_weights()
            yield
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI")
        if previous is not None:
            os.environ["MLFLOW_TRACKING_URI"] = previous


def choose_photos(data: Path, pattern: str, count: int) -> tuple[list[Photo], list[Photo]]:
    """Return at most `count` usable photos of other kinds, and all photos of the kind.

    Raise `UserError` if there are none of either.
    """
    link(data, PHOTOS)
    prepare.main()
    source, rows = Source(PHOTOS), sorted(read_manifest(), key=lambda row: row.sha256)
    left_out = [row for row in rows if fnmatch(row.id, pattern)]
    others = [row for row in rows if not fnmatch(row.id, pattern)][:count]
    if not left_out or not others:
        raise UserError(
            f"--kind {pattern!r} matches {len(left_out)} of {len(rows)} photos; expected a pattern of some, but not "
            f"all names, such as {rows[0].id!r}"
        )
    base, kind = ([(row.label, source.read(row.id)) for row in chosen] for chosen in (others, left_out))
    return base, kind


def run(base: Sequence[Photo], left_out: Sequence[Photo], contributions: str) -> TrialFigures:
    """Run the loop once in the working directory, and return its figures.

    The server stores the contributed photos in `contributions`, s3://BUCKET or a folder.
    """
    write_photos(base, Path("base"))
    train_on(Path("base"))
    with serve(RELEASED, contributions) as client:
        mistakes = contribute_mistakes(left_out, client)
    held = review(f"{contributions}/contributed/")
    accept(Path("review"), allow_unchanged=True)  # if the audit holds no photo, the review changes no decision
    accepted = read_folder_labels(CONTRIBUTIONS)
    write_photos([*base, *read_accepted()], Path("both"))
    train_on(Path("both"))
    outcome = read_figures("release")
    return TrialFigures(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        base_photos=len(base),
        shown=len(left_out),
        mistakes=mistakes,
        held=held,
        accepted=len(accepted),
        corrections=outcome["corrections"],
        before=outcome["champion"]["accuracy"],
        after=outcome["accuracy"],
        paired=outcome["paired"],
        promoted=outcome["promoted"],
        reason=outcome["reason"],
    )


def read_accepted() -> list[Photo]:
    """Return the accepted contributions that are used for training."""
    folder = CONTRIBUTIONS / ACCEPTED_FOLDER
    return [(label, (folder / path).read_bytes()) for path, label in read_folder_labels(folder).items()]


def write_photos(photos: Sequence[Photo], folder: Path) -> None:
    """Write photos as FOLDER/LABEL/SHA256.jpg."""
    for label, data in photos:
        path = folder / label / f"{hashlib.sha256(data).hexdigest()}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def train_on(photos: Path) -> None:
    """Run the stages of the pipeline without DVC. The release stage compares held-back contributions, if any."""
    link(photos, PHOTOS)
    link_held_back(use=True)
    for stage in STAGES:
        stage.main()
    rule = config.load(config.Release)
    release.release(Registry(rule.registered_model), rule)


def contribute_mistakes(photos: Sequence[Photo], client: Client) -> int:
    """Classify every photo, and contribute those that are misclassified. Return their number."""
    mistakes = 0
    for label, data in photos:
        answer = client.classify(data)
        if answer["predicted_class"] != label:
            client.contribute(data, label, answer["request_id"])
            mistakes += 1
    return mistakes


def review(source: str) -> int:
    """Harvest the contributions, and accept those that the audit held. Return how many the audit held."""
    candidates = harvest(source, Path("review"))
    held = [candidate for candidate in candidates if candidate.decision == HOLD]
    write_decisions([replace(c, decision=ACCEPT) if c.decision == HOLD else c for c in candidates], Path("review"))
    return len(held)


if __name__ == "__main__":
    main()
