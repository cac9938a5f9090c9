"""Compare the verified file with the champion on the same test photos, and serve it if it wins.

Both models predict the current test split, without the photos that the champion has learned
(export/checks/unseen_photos.py).

    python -m export.release              register the file as challenger; promote it if it wins
    python -m export.release --promote    promote the challenger regardless of the comparison
    python -m export.release --rollback   restore the previous champion, byte for byte

Within an experiment of DVC, the file is compared and registered, but it never replaces a champion.
"""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from export.checks.comparison import load_or_none
from export.files import CANDIDATES, CARD, REFERENCE, RELEASED, megabytes
from export.learned_photos import LEARNED, LearnedPhotos, write_learned
from export.promotion import Outcome, compare, skip_comparison
from export.registry import CARD_TAG, CHALLENGER, CHAMPION, PREDECESSOR, ROLLED_BACK, Registry
from lambda_app.classifier import OUTPUTS
from training import config
from training.figures import read_figures, replacing, write_figures
from training.interruption import UserError
from training.source import sha256

OUTCOME = "outcome"  # tag of a version: its Outcome as JSON
Metrics = Mapping[str, Mapping[str, Any]]  # by set and figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--promote", action="store_true", help="promote the challenger regardless of the comparison")
    action.add_argument("--rollback", action="store_true", help="restore the previous champion")
    arguments = parser.parse_args()
    rule = config.load(config.Release)
    registry = Registry(rule.registered_model)
    if arguments.rollback:
        roll_back(registry)
    elif arguments.promote:
        promote_manually(registry)
    else:
        release(registry, rule)


def release(registry: Registry, rule: config.Release) -> None:
    """Register the selected candidate, compare it with the champion, and serve it if it wins."""
    path, metrics = read_selection()
    champion = adopt_served_file(registry)
    version = registry.find_file(sha256(path)) or register_challenger(registry, path, metrics)
    if champion is not None and champion.version == version.version:
        outcome = read_outcome(version)
        if not outcome.promoted:  # it lost here, but another machine promoted it
            outcome = skip_comparison(path, "it is the champion")
        outcome = replace(outcome, candidate=path.stem)  # instead of "adopted"
    elif ROLLED_BACK in version.tags:
        reason = f"it was rolled back on {version.tags[ROLLED_BACK]}; run `make promote` to serve it anyway"
        outcome = skip_comparison(path, reason, promoted=False)
    else:
        outcome = compare(path, champion, registry, rule)
    if champion is not None and champion.version != version.version and "DVC_EXP_NAME" in os.environ:
        outcome = withhold(outcome)
    apply_outcome(registry, version, outcome)


def read_selection() -> tuple[Path, Metrics]:
    """Return the candidate that verify selected and its figures by set. Raise `UserError` if the file is missing."""
    verdict = read_figures("verify")
    name = verdict.get("selected")
    path = CANDIDATES / f"{name}.onnx"
    if not path.is_file():
        raise UserError(
            f"artifacts/metrics/verify.json selects {name!r}, but {path} does not exist; "
            "run `.venv/bin/dvc repro verify` again"
        )
    figures = verdict["candidates"][name]
    return path, figures["sets"] | figures["outliers"]


def withhold(outcome: Outcome) -> Outcome:
    """Return the outcome of an experiment, which must not replace the served model."""
    reason = (
        f"an experiment never replaces the served model; `make promote` releases it; the comparison: {outcome.reason}"
    )
    return replace(outcome, promoted=False, reason=reason)


def adopt_served_file(registry: Registry) -> ModelVersion | None:
    """Make the served file the champion unless it is, and return the champion, or None.

    A checkout may serve another file than the champion of this machine's registry: the registry is empty, or the file
    was released elsewhere or restored from Git. That file becomes the champion, so that challengers are compared with
    it and a rollback can restore it. A file that the serving code cannot load is ignored.
    """
    champion = registry.find_alias(CHAMPION)
    if not RELEASED.exists() or (champion is not None and is_served(champion)):
        return champion
    classifier = load_or_none(RELEASED)
    if classifier is None:
        return champion
    version = registry.find_file(sha256(RELEASED))
    version = version or registry.register(RELEASED, build_tags(RELEASED, "adopted", classifier.metadata.metrics))
    if photos := LearnedPhotos.find(registry, version):
        photos.store(registry, version)
    if CARD.exists():
        registry.tag(version, CARD_TAG, CARD.read_text())
    registry.promote(version)
    return registry.get_alias(CHAMPION)


def is_served(version: ModelVersion) -> bool:
    return RELEASED.exists() and version.tags["sha256"] == sha256(RELEASED)


def build_tags(path: Path, candidate: str, metrics: Metrics) -> dict[str, str]:
    """Return the tags of a version in addition to its provenance: figures by set, candidate and size."""
    figures = {
        f"{name}_{key}": f"{value:.6g}"
        for name, values in metrics.items()
        for key, value in values.items()
        if isinstance(value, float)
    }
    return figures | {"candidate": candidate, "size_mb": f"{megabytes(path):.6g}"}


def register_challenger(registry: Registry, path: Path, metrics: Metrics) -> ModelVersion:
    """Register a candidate that was trained on the photos of the manifest."""
    version = registry.register(path, build_tags(path, path.stem, metrics))
    LearnedPhotos.from_manifest().store(registry, version)
    return version


def read_outcome(version: ModelVersion) -> Outcome:
    """Return the outcome of an earlier comparison, or of the adoption of a version that was never compared."""
    tags = version.tags
    if OUTCOME in tags:
        return Outcome(**json.loads(tags[OUTCOME]))
    reason = "it served before this registry had it"
    size = float(tags["size_mb"])
    return Outcome(tags["candidate"], tags["model_version"], tags["sha256"], size, promoted=True, reason=reason)


def apply_outcome(registry: Registry, version: ModelVersion, outcome: Outcome) -> None:
    """Record the outcome, and serve the file if it was promoted."""
    registry.tag(version, OUTCOME, json.dumps(asdict(outcome)))
    if outcome.promoted:
        serve(registry, version)
        registry.promote(version)
    else:
        registry.set_challenger(version)
    if not LEARNED.exists():
        write_learned(None)
    write_figures("release", asdict(outcome))
    if version.tags["git_commit"].endswith("-dirty"):
        print(f"trained with uncommitted changes ({version.tags['git_commit']}): the run cannot be reproduced exactly")
    status = f"is {registry.name} version {version.version} and serves" if outcome.promoted else "IS NOT PROMOTED"
    print(f"{outcome.model_version} ({outcome.candidate}) {status}: {outcome.reason}")


def promote_manually(registry: Registry) -> None:
    """Promote the challenger, and record that the comparison was overruled."""
    version = registry.get_alias(CHALLENGER)
    if not is_served(version):  # otherwise, an interruption left this command unfinished
        adopt_served_file(registry)  # so that a rollback restores the file that serves now
    outcome = read_outcome(version)
    reason = f"promoted manually; the earlier outcome was: {outcome.reason}"
    apply_outcome(registry, version, replace(outcome, promoted=True, reason=reason))


def roll_back(registry: Registry) -> None:
    """Serve the predecessor of the champion again. Raise `UserError` if there is none."""
    champion = registry.find_alias(CHAMPION)
    # If the predecessor serves already, an interruption left this command unfinished, or Git restored the file.
    if champion is None or PREDECESSOR not in champion.tags or not is_served(registry.get_predecessor(champion)):
        champion = adopt_served_file(registry) or registry.get_alias(CHAMPION)
    predecessor = registry.get_predecessor(champion)
    serve(registry, predecessor)
    registry.roll_back(champion, predecessor)
    figures = read_figures("release")
    if figures["sha256"] == champion.tags["sha256"]:
        write_figures("release", figures | {"promoted": False, "reason": f"it was rolled back; {figures['reason']}"})
    names = [f"{version.tags['model_version']} (version {version.version})" for version in (champion, predecessor)]
    print(f"rolled back from {names[0]} to {names[1]}")


def serve(registry: Registry, version: ModelVersion) -> None:
    """Serve the file of a version, and restore its card, its drift reference and the hashes of its photos.

    Raise `UserError` if the serving code cannot load it.
    """
    with replacing(RELEASED) as partial:
        partial.write_bytes(registry.read_file(version))
        if load_or_none(partial) is None:
            partial.unlink()
            raise UserError(
                f"the serving code cannot load {registry.name} version {version.version}; expected the outputs "
                f"{OUTPUTS}"
            )
        champion = registry.find_alias(CHAMPION)
        if champion is not None and champion.version != version.version:
            keep_reference(registry, champion)
    write_learned(LearnedPhotos.find(registry, version))
    if CARD_TAG in version.tags:
        CARD.write_text(version.tags[CARD_TAG])
    if (reference := registry.find_text(version, REFERENCE.name)) is not None:
        REFERENCE.write_text(reference)


def keep_reference(registry: Registry, champion: ModelVersion) -> None:
    """Store the champion's drift reference: after a rollback, its photos may no longer be there to compute it again."""
    text = REFERENCE.read_text() if REFERENCE.exists() else "{}"
    if json.loads(text).get("model_version") == champion.tags["model_version"]:
        registry.store_text(champion, REFERENCE.name, text)


if __name__ == "__main__":
    main()
