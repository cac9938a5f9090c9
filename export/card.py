"""Stage 8: the served model's card. Its figures come from artifacts/metrics/ and the file's metadata, its prose from
`export/card_template.md`, and what only a person can say from `export/card_notes.md`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Any

import yaml

from export.registry import CHAMPION, Registry
from export.release import CARD, CARD_TAG, RELEASED
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata
from training import config
from training.metrics import wilson
from training.source import sha256
from training.tools.results_page import percent, table

METRICS = Path("artifacts/metrics")
TEMPLATE = Path("export/card_template.md")
NOTES = Path("export/card_notes.md")
CATALOGUE = Path("data/datasets.yaml")
ABSENT = "Not measured."
Values = Mapping[str, Any]


def main() -> None:
    trained = read("train")["run_id"] if (METRICS / "train.json").exists() else None  # gone while DVC trains anew
    if trained != Classifier.load(RELEASED).metadata.run_id or read("release")["sha256"] != sha256(RELEASED):
        print(f"{CARD} stays: {METRICS} is not about the file that serves")
        CARD.touch()  # an output of the stage, even where a served model came without a card
        return
    text = render()
    CARD.write_text(text)
    registry = Registry(config.load(config.Release).registered_model)
    registry.tag(registry.expect(CHAMPION), CARD_TAG, text)  # so that a rollback brings the card back too
    print(f"wrote {CARD}")


def render() -> str:
    """The whole card, from files alone."""
    metadata = Classifier.load(RELEASED).metadata
    evaluated, verified, released = read("evaluate"), read("verify"), read("release")
    parts = {
        "title": " or ".join(metadata.class_names),
        "classes": ", ".join(metadata.class_names),
        "model_version": metadata.model_version,
        "architecture": f"`{metadata.architecture}`",
        "parameters": f"{metadata.parameters:,}",
        "image_size": metadata.image_size,
        "size": f"{released['size_mb']:.2f} MB",
        "data": data(read("prepare")),
        "catalogue": catalogue(),
        "sets": sets(evaluated["sets"]),
        "by_class": by_class(evaluated["sets"], metadata.class_names),
        "calibration": calibration(evaluated),
        "unknown": unknown(evaluated),
        "disturbed": disturbed(verified["behaviour"]),
        "candidate": f"{released['candidate']}, since {verified['reason']}",
        "candidates": candidates(verified["candidates"]),
        "outcome": f"{released['reason']}.",
        "not_judged": "".join(f"\n\nNot judged: {line}." for line in verified["not_judged"]),
        "mistakes": mistakes(evaluated["sets"], metadata.class_names),
        **provenance(metadata),
        **recipe(),
        **notes(metadata.run_id),
        "sha256": released["sha256"],
    }
    return Template(TEMPLATE.read_text()).substitute(parts)


def read(stage: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((METRICS / f"{stage}.json").read_text())
    return values


def interval(bounds: Sequence[float]) -> str:
    return f"{percent(bounds[0])} to {percent(bounds[1])}"


def data(prepared: Values) -> str:
    classes = ", ".join(f"{count:,} {name}" for name, count in prepared["classes"].items())
    splits = ", ".join(f"{count:,} {name}" for name, count in prepared["splits"].items())
    aside = ", ".join(f"{count:,} {reason}" for reason, count in prepared["set_aside"].items())
    return f"{prepared['photos']:,} photos ({classes}), split into {splits}. Set aside: {aside or 'none'}."


def catalogue() -> str:
    entries = yaml.safe_load(CATALOGUE.read_text()).values()
    return "\n".join(f"- {entry['title']}: {entry['license']}" for entry in entries)


def recipe() -> dict[str, str]:
    """Of the training that was released, as it told itself: today's params may be others."""
    trained = read("train")
    weights = trained["train"]["weights"]
    start = f"from the weights `{weights}`" if weights else "from random weights"
    keys = (f"{section}.{key} {value}" for section in ("train", "augment") for key, value in trained[section].items())
    return {"start": start, "recipe": fill(", ".join(keys) + ".", 120, break_long_words=False, break_on_hyphens=False)}


def sets(scored: Mapping[str, Values]) -> str:
    head = ("set", "photos", "accuracy", "interval", "ROC-AUC", "log loss")
    return table(head, ((name, *_scores(values)) for name, values in scored.items()))


def _scores(values: Values) -> tuple[str, ...]:
    scores = (f"{values[key]:.4f}" for key in ("roc_auc", "log_loss"))
    return f"{values['photos']:,}", percent(values["accuracy"]), interval(values["accuracy_interval"]), *scores


def by_class(scored: Mapping[str, Values], names: Sequence[str]) -> str:
    rows = []
    for name, values in scored.items():
        for index, counts in enumerate(values["confusion_matrix"]):
            if of := sum(counts):  # a further set may lack a class
                right = counts[index]
                rows.append(
                    (name, names[index], f"{right:,} of {of:,}", percent(right / of), interval(wilson(right, of)))
                )
    return table(("set", "class", "recognised", "share", "interval"), rows)


def calibration(evaluated: Values) -> str:
    errors = (f"{name} {percent(values['calibration_error'])}" for name, values in evaluated["sets"].items())
    return (
        f"Logits are divided by a temperature of {evaluated['temperature']:.3f}, fitted on validation photos. "
        f"Expected calibration error: {', '.join(errors)}."
    )


def unknown(evaluated: Values) -> str:
    """False alarms on our own sets, and what is caught of the others."""
    ours = (f"{name} {percent(values['unknown_rate'])}" for name, values in evaluated["sets"].items())
    head = ("pictures of none of the classes", "photos", "called unknown", "ROC-AUC")
    rows = [
        (name, f"{values['photos']:,}", percent(values["recognised"]), f"{values['roc_auc']:.4f}")
        for name, values in evaluated["outliers"].items()
    ]
    scores = table(head, rows) if rows else ABSENT
    return (
        f"A photo is unknown where its familiarity is below {evaluated['unknown_threshold']:.4g}. "
        f"Called unknown though they show a class: {', '.join(ours)}.\n\n{scores}"
    )


def disturbed(behaviour: Values) -> str:
    rows = ((name.replace("_", " "), percent(share)) for name, share in behaviour["agreement"].items())
    return table(("edit", "same class as before"), rows)


def candidates(measured: Mapping[str, Values]) -> str:
    """The candidate files, side by side."""
    names = next(iter(measured.values()))["sets"]
    head = ("network", *(f"accuracy, {name}" for name in names), "MB", "ms a photo")
    return table(head, ((which, *_candidate(values)) for which, values in measured.items()))


def _candidate(values: Values) -> Iterator[str]:
    yield from (percent(scores["accuracy"]) for scores in values["sets"].values())
    yield from (f"{values[key]:.2f}" if key in values else "" for key in ("size_mb", "latency_ms"))


def mistakes(scored: Mapping[str, Values], names: Sequence[str], most: int = 5) -> str:
    """The most frequent confusions of each set, in words."""
    lines = []
    for name, values in scored.items():
        matrix = values["confusion_matrix"]
        pairs = [(count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j and count]
        worst = (f"{n:,} {names[i]} taken for {names[j]}" for n, i, j in sorted(pairs, reverse=True)[:most])
        lines.append(f"- {name}: {', '.join(worst) or 'none'}")
    return "\n".join(lines)


def provenance(metadata: Metadata) -> dict[str, str]:
    commit = metadata.git_commit
    checkout = commit.removesuffix("-dirty") + (
        "  # with changes that were not committed" if "-dirty" in commit else ""
    )
    return {
        "run_id": metadata.run_id,
        "git_commit": commit,
        "data_hash": metadata.data_hash,
        "checkout": checkout,
    }


def notes(run_id: str) -> dict[str, str]:
    """A person's words, where they are about this run."""
    about, _, rest = NOTES.read_text().partition("\n")
    if about.removeprefix("# Run ").strip() != run_id[:8]:
        absent = f"(Nobody has described the {{}} of run `{run_id[:8]}` in words yet; [card_notes.md](card_notes.md).)"
        return {"notes_photos": absent.format("photos"), "notes_mistakes": absent.format("mistakes")}
    photos, mistakes = rest.split("## Photos\n")[1].split("## Mistakes\n")
    return {"notes_photos": photos.strip(), "notes_mistakes": mistakes.strip()}


if __name__ == "__main__":
    main()
