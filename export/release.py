"""Stage 7: the verified file challenges the champion; it is served if it wins on the same test photos.

Both are asked about today's test split. Content decides a photo's split (training/split.py), so as long as
`prepare.train_share` stays, a test photo of today was never a training photo of an older champion.

    python -m export.release              register the file as challenger, promote it if it wins
    python -m export.release --promote    promote the challenger, whatever the figures say
    python -m export.release --rollback   the champion before this one serves again, byte for byte
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from export.checks.comparison import Paired, judge, loaded, right
from export.quantize import CANDIDATES
from export.registry import CHALLENGER, CHAMPION, ROLLED_BACK, Registry
from export.verify import METRICS as VERIFIED
from lambda_app.classifier import OUTPUTS, Classifier
from training import config
from training.source import sha256

METRICS = Path("artifacts/metrics/release.json")
RELEASED = Path("lambda_app/model.onnx")
CARD = Path("export/MODEL_CARD.md")
OUTCOME = "outcome"  # the tag of a version that was judged: the Outcome as JSON
CARD_TAG = "card"  # the tag of a version that serves or served: export/MODEL_CARD.md of it
Metrics = Mapping[str, Mapping[str, Any]]  # set, figure


class ReleaseError(SystemExit):
    """What verify left cannot be released; the message names it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file, as artifacts/metrics/release.json says it."""

    candidate: str  # int8, fp16 or fp32
    model_version: str
    sha256: str
    size_mb: float
    promoted: bool
    reason: str
    accuracy: float | None = None  # on the test split, measured on this file; None if nobody was there to compare with
    champion: dict[str, Any] | None = None  # the same of the file that it was held against
    paired: dict[str, Any] | None = None  # see export.checks.comparison.Paired


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--promote", action="store_true", help="promote the challenger, whatever the figures say")
    which.add_argument("--rollback", action="store_true", help="the champion before this one serves again")
    arguments = parser.parse_args()
    rule = config.load(config.Release)
    registry = Registry(rule.registered_model)
    if arguments.rollback:
        roll_back(registry)
    elif arguments.promote:
        promote_by_hand(registry)
    else:
        release(registry, rule)


def release(registry: Registry, rule: config.Release) -> None:
    path, metrics = chosen()
    champion = registry.holder(CHAMPION) or adopt(registry)
    version = registry.find(sha256(path)) or registry.register(path, tags(path, path.stem, metrics))
    if champion is not None and champion.version == version.version:
        outcome = recorded(version) or uncompared(path, "it is the champion")
    elif ROLLED_BACK in version.tags:
        reason = f"it was rolled back on {version.tags[ROLLED_BACK]}; `make promote` overrules that"
        outcome = uncompared(path, reason, promoted=False)
    else:
        outcome = compare(path, champion, registry, rule)
    finish(registry, version, outcome)


def chosen() -> tuple[Path, Metrics]:
    """The candidate that verify chose, and its figures by set. Raises ReleaseError where there is none."""
    verdict = json.loads(VERIFIED.read_text())
    name = verdict.get("released")
    path = CANDIDATES / f"{name}.onnx"
    if not path.is_file():
        raise ReleaseError(f"{VERIFIED} says released: {name!r}, and {path} is no file; expected one that verify wrote")
    figures = verdict["candidates"][name]
    return path, figures["sets"] | figures["outliers"]


def adopt(registry: Registry) -> ModelVersion | None:
    """The served file of a checkout whose store is new is its first champion, so that there is a way back to it."""
    classifier = loaded(RELEASED) if RELEASED.exists() else None
    if classifier is None:
        return None
    version = registry.find(sha256(RELEASED))
    version = version or registry.register(RELEASED, tags(RELEASED, "adopted", classifier.metadata.metrics))
    if CARD.exists():
        registry.tag(version, CARD_TAG, CARD.read_text())
    registry.crown(version)
    return version


def tags(path: Path, candidate: str, metrics: Metrics) -> dict[str, str]:
    """What a version says of its file beside its provenance."""
    figures = {
        f"{name}_{key}": f"{value:.6g}"
        for name, values in metrics.items()
        for key, value in values.items()
        if isinstance(value, float)
    }
    return figures | {"candidate": candidate, "size_mb": f"{megabytes(path):.6g}"}


def compare(path: Path, champion: ModelVersion | None, registry: Registry, rule: config.Release) -> Outcome:
    if champion is None:
        return uncompared(path, "there was no champion")
    with TemporaryDirectory() as folder:
        theirs = Path(folder) / "model.onnx"
        theirs.write_bytes(registry.read(champion))
        challenger, opponent = Classifier.load(path), loaded(theirs)
        if opponent is None:
            return uncompared(path, f"today's serving code cannot ask the champion, version {champion.version}")
        if opponent.metadata.class_names != challenger.metadata.class_names:
            return uncompared(path, f"the champion, version {champion.version}, does not answer with the same classes")
        answers, their_answers = right(challenger), right(opponent)
        paired, size = Paired.of(answers, their_answers), megabytes(path) / megabytes(theirs)
        promoted, reason = judge(paired, size, rule)
        return Outcome(
            **about(path),
            promoted=promoted,
            reason=reason,
            accuracy=float(answers.mean()),
            champion=about(theirs)
            | {"candidate": champion.tags.get("candidate"), "accuracy": float(their_answers.mean())},
            paired=paired.figures(rule.confidence),
        )


def uncompared(path: Path, reason: str, *, promoted: bool = True) -> Outcome:
    return Outcome(**about(path), promoted=promoted, reason=reason)


def about(path: Path) -> dict[str, Any]:
    version = Classifier.load(path).metadata.model_version
    return {"candidate": path.stem, "model_version": version, "sha256": sha256(path), "size_mb": megabytes(path)}


def megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


def recorded(version: ModelVersion) -> Outcome | None:
    return Outcome(**json.loads(version.tags[OUTCOME])) if OUTCOME in version.tags else None


def finish(registry: Registry, version: ModelVersion, outcome: Outcome) -> None:
    """Keep the outcome, and serve the file where it won."""
    text = json.dumps(asdict(outcome), indent=2)
    registry.tag(version, OUTCOME, text)
    if outcome.promoted:
        serve(registry, version)
        registry.crown(version)
    else:
        registry.challenge(version)
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(text + "\n")
    if version.tags["git_commit"].endswith("-dirty"):
        print(f"it was trained with changes that were not committed: {version.tags['git_commit']} does not lead back")
    said = f"is {registry.name} version {version.version} and serves" if outcome.promoted else "IS NOT PROMOTED"
    print(f"{outcome.model_version} ({outcome.candidate}) {said}: {outcome.reason}")


def promote_by_hand(registry: Registry) -> None:
    version = registry.expect(CHALLENGER)
    judged = json.loads(version.tags[OUTCOME])  # every challenger was judged
    finish(registry, version, Outcome(**judged | {"promoted": True, "reason": f"by hand, after: {judged['reason']}"}))


def roll_back(registry: Registry) -> None:
    champion = registry.expect(CHAMPION)
    predecessor = registry.predecessor(champion)
    serve(registry, predecessor)
    registry.roll_back(champion, predecessor)
    names = [f"{version.tags['model_version']} (version {version.version})" for version in (champion, predecessor)]
    print(f"rolled back from {names[0]} to {names[1]}")


def serve(registry: Registry, version: ModelVersion) -> None:
    """The function's file becomes this one, at once. Raises ReleaseError where today's serving code cannot ask it."""
    partial = RELEASED.with_suffix(".partial")
    partial.write_bytes(registry.read(version))
    if loaded(partial) is None:
        partial.unlink()
        raise ReleaseError(
            f"{registry.name} version {version.version} cannot serve: it is older than its contract, {OUTPUTS}"
        )
    partial.rename(RELEASED)
    if CARD_TAG in version.tags:
        CARD.write_text(version.tags[CARD_TAG])


if __name__ == "__main__":
    main()
