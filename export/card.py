"""Stage 8: write the model card of the served model.

Figures come from artifacts/metrics/ and the metadata of the model file, prose from `export/card_template.md`, and
descriptions that only a person can write from `export/card_notes.md`.
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
from training.metrics import wilson_interval
from training.source import sha256
from training.tools.results_page import percent, table

METRICS = Path("artifacts/metrics")
TEMPLATE = Path("export/card_template.md")
NOTES = Path("export/card_notes.md")
ATTEMPTS = METRICS / "attempts.json"  # written by training.tools.attempts
ACTIVATION_MAP = METRICS / "activation_map.json"  # written by export.checks.faithfulness
CATALOG = Path("data/datasets.yaml")
NOT_MEASURED = "Not measured."
MAP_PICTURES = """\
![Mean probability of the predicted class by share of pixels](../artifacts/plots/activation_map_curves.png)

The bundled photos, dark where the map is low, and what the model calls them:

![The bundled photos under their maps](../artifacts/plots/activation_map_examples.png)

Maps of misclassified photos, without the photos, which may not be published:

![Maps of misclassified photos](../artifacts/plots/activation_map_mistakes.png)"""
Values = Mapping[str, Any]


def main() -> None:
    if not metrics_match_served_file():
        print(f"{CARD} is unchanged: {METRICS} does not describe the served file")
        CARD.touch()  # DVC requires the output, even if the served model came without a card
        return
    text = render()
    CARD.write_text(text)
    registry = Registry(config.load(config.Release).registered_model)
    registry.tag(registry.get_alias(CHAMPION), CARD_TAG, text)  # a rollback restores the card from this tag
    print(f"wrote {CARD}")


def metrics_match_served_file() -> bool:
    """Return whether the metrics on file are those of the served model."""
    if not (METRICS / "train.json").exists():  # DVC deletes it while it evaluates
        return False
    run_id = Classifier.load(RELEASED).metadata.run_id
    return bool(read("train")["run_id"] == run_id and read("release")["sha256"] == sha256(RELEASED))


def render() -> str:
    """Return the whole card, from files alone."""
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
        "data": render_data(read("prepare")),
        "licenses": render_licenses(read("train").get("sources"), [*evaluated["sets"], *evaluated["outliers"]]),
        "sets": render_sets(evaluated["sets"]),
        "by_class": render_classes(evaluated["sets"], metadata.class_names),
        "calibration": render_calibration(evaluated),
        "unknown": render_unknown(evaluated),
        "looked": render_looked(metadata.run_id),
        "edits": render_edits(verified["behavior"]),
        "candidate": fill_paragraph(f"Released: {released['candidate']}, because {verified['reason']}."),
        "candidates": render_candidates(verified["candidates"]),
        "outcome": fill_paragraph(f"Decision: {released['reason']}."),
        "not_judged": "".join(f"\n\nNot judged: {line}." for line in verified["not_judged"]),
        "mistakes": render_mistakes(evaluated["sets"], metadata.class_names),
        **render_provenance(metadata),
        **render_recipe(),
        **render_notes(metadata.run_id),
        "selection": render_selection(metadata.run_id),
        "sha256": released["sha256"],
    }
    return Template(TEMPLATE.read_text()).substitute(parts)


def read(stage: str) -> dict[str, Any]:
    """Return the metrics that a stage wrote."""
    values: dict[str, Any] = json.loads((METRICS / f"{stage}.json").read_text())
    return values


def format_interval(bounds: Sequence[float]) -> str:
    return f"{percent(bounds[0])} to {percent(bounds[1])}"


def render_data(prepared: Values) -> str:
    """Return how many photos there are by class, split and reason for exclusion, and how many were relabeled."""
    classes = ", ".join(f"{count:,} {name}" for name, count in prepared["classes"].items())
    splits = ", ".join(f"{count:,} {name}" for name, count in prepared["splits"].items())
    excluded = ", ".join(f"{count:,} {reason}" for reason, count in prepared["set_aside"].items())
    source = " by the author of the data set" if prepared.get("split") == "given" else ""
    relabeled = f" Relabeled by reviewers: {prepared['relabeled']:,}." if prepared.get("relabeled") else ""
    return fill_paragraph(
        f"{prepared['photos']:,} photos ({classes}), split{source} into {splits}. Excluded: {excluded or 'none'}."
        f"{relabeled}"
    )


def fill_paragraph(text: str) -> str:
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)


def render_licenses(sources: Sequence[str] | None, further: Sequence[str]) -> str:
    """Return the license of each set of the catalog that was trained on, or scored as a further set.

    `sources` are None for a model that was trained before they were recorded.
    """
    catalog: dict[str, dict[str, Any]] = yaml.safe_load(CATALOG.read_text())
    names = [*(sources or ()), *further]
    used = [entry for key, entry in catalog.items() if any(is_from(name, key, entry) for name in names)]
    lines = [f"- {entry['title']}: {entry['license']}" for entry in used]
    if sources is None:
        lines.append("The training did not record which sets it used.")
    elif not used:
        lines.append("No set of the catalog was used. The license of the photos is that of their source.")
    return "\n".join(lines)


def is_from(name: str, key: str, entry: Values) -> bool:
    """Return whether a file or folder of that name holds photos of the catalog's entry."""
    stem = Path(name).stem
    return stem in {
        key,
        f"{key}-by-class",
        Path(entry["file"]).stem if "file" in entry else key,
        *entry.get("names", ()),
    }


def render_recipe() -> dict[str, str]:
    """Return the parameters of the released training, as it recorded them; params.yaml may have changed since."""
    trained = read("train")
    weights = trained["train"]["weights"]
    start = f"from the weights `{weights}`" if weights else "from random weights"
    keys = (f"{section}.{key} {value}" for section in ("train", "augment") for key, value in trained[section].items())
    return {"start": start, "recipe": fill_paragraph(", ".join(keys) + ".")}


def render_sets(sets: Mapping[str, Values]) -> str:
    """Return the table of scores by set."""
    head = ("set", "photos", "accuracy", "95 % interval", "ROC-AUC", "log loss")
    return table(head, ((name, *_score_cells(values)) for name, values in sets.items()))


def _score_cells(values: Values) -> tuple[str, ...]:
    scores = (f"{values[key]:.4f}" for key in ("roc_auc", "log_loss"))
    return f"{values['photos']:,}", percent(values["accuracy"]), format_interval(values["accuracy_interval"]), *scores


def render_classes(sets: Mapping[str, Values], names: Sequence[str]) -> str:
    """Return the table of recall by set and class. Classes that a set lacks have no row."""
    rows = []
    for set_name, values in sets.items():
        for index, counts in enumerate(values["confusion_matrix"]):
            if total := sum(counts):
                correct = counts[index]
                recall = percent(correct / total), format_interval(wilson_interval(correct, total))
                rows.append((set_name, names[index], f"{correct:,} of {total:,}", *recall))
    return table(("set", "class", "correct", "recall", "95 % interval"), rows)


def render_calibration(evaluated: Values) -> str:
    errors = (f"{name} {percent(values['calibration_error'])}" for name, values in evaluated["sets"].items())
    return fill_paragraph(
        f"Logits are divided by a temperature of {evaluated['temperature']:.3f}, fitted on validation photos. "
        f"Expected calibration error: {', '.join(errors)}."
    )


def render_unknown(evaluated: Values) -> str:
    """Return the false alarms on photos of the classes, and the detection rate on other pictures."""
    false_alarms = (f"{name} {percent(values['unknown_rate'])}" for name, values in evaluated["sets"].items())
    head = ("pictures of other things", "photos", "called unknown", "ROC-AUC")
    rows = [
        (name, f"{values['photos']:,}", percent(values["recognised"]), f"{values['roc_auc']:.4f}")
        for name, values in evaluated["outliers"].items()
    ]
    text = fill_paragraph(
        f"A photo is called unknown if its familiarity is below {evaluated['unknown_threshold']:.4g}. "
        f"Photos of the classes that are called unknown: {', '.join(false_alarms)}."
    )
    return f"{text}\n\n{table(head, rows) if rows else NOT_MEASURED}"


def render_looked(run_id: str) -> str:
    """Return how well the activation maps show what decides, or that it was not measured for this run."""
    figures = json.loads(ACTIVATION_MAP.read_text()) if ACTIVATION_MAP.exists() else {}
    if figures.get("run_id") != run_id:
        return NOT_MEASURED
    pointing, photos = figures["pointing"], f"{figures['photos']:,} photos of {figures['set']}"
    curves = fill_paragraph(
        f"Deletion and insertion (Petsiuk et al. 2018), on {photos}: the area under the probability of the predicted "
        "class while pixels are deleted, or inserted into a blurred photo, in the order of the map. *Center* ranks "
        "pixels by their distance from the center of the photo. Intervals are 95 % intervals of the mean difference."
    )
    grids = fill_paragraph(
        f"Pointing (Böhle et al. 2021), in {pointing['grids']:,} grids of one of these photos and three of "
        f"{pointing['others']}: the peak of the map is on the photo of a class in {percent(pointing['hits'])} (by "
        f"chance, {percent(pointing['chance'])}), and so are {percent(pointing['share'])} of the map's positive values."
    )
    return f"{curves}\n\n{render_areas(figures)}\n\n{grids}\n\n{MAP_PICTURES}"


def render_areas(figures: Values) -> str:
    """Return the table of areas under the curves, by kind of map."""
    head = (
        "curve",
        "better",
        *figures["deletion"]["areas"],
        *(f"gain on {k}" for k in figures["deletion"]["advantage"]),
    )
    rows = []
    for name, better in (("deletion", "lower"), ("insertion", "higher")):
        areas = (f"{area:.3f}" for area in figures[name]["areas"].values())
        gains = (f"{g['mean']:.3f} ({g['low']:.3f} to {g['high']:.3f})" for g in figures[name]["advantage"].values())
        rows.append((name, better, *areas, *gains))
    return table(head, rows)


def render_edits(behavior: Values) -> str:
    """Return the table of how many photos keep their class after each edit."""
    rows = ((name.replace("_", " "), percent(share)) for name, share in behavior["agreement"].items())
    return table(("edit", "photos that keep their class"), rows)


def render_candidates(candidates: Mapping[str, Values]) -> str:
    """Return the table of the candidate files."""
    sets = next(iter(candidates.values()))["sets"]
    head = ("file", *(f"accuracy, {name}" for name in sets), "MB", "ms per photo")
    return table(head, ((name, *_candidate_cells(values)) for name, values in candidates.items()))


def _candidate_cells(values: Values) -> Iterator[str]:
    yield from (percent(scores["accuracy"]) for scores in values["sets"].values())
    yield from (f"{values[key]:.2f}" if key in values else "" for key in ("size_mb", "latency_ms"))


def render_mistakes(sets: Mapping[str, Values], names: Sequence[str], limit: int = 5) -> str:
    """Return the most frequent confusions of each set as a list."""
    lines = []
    for set_name, values in sets.items():
        matrix = values["confusion_matrix"]
        pairs = [(count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j and count]
        worst = (f"{n:,} {names[i]} predicted as {names[j]}" for n, i, j in sorted(pairs, reverse=True)[:limit])
        lines.append(f"- {set_name}: {', '.join(worst) or 'none'}")
    return "\n".join(lines)


def render_provenance(metadata: Metadata) -> dict[str, str]:
    commit = metadata.git_commit
    note = "  # plus changes that were not committed" if "-dirty" in commit else ""
    return {
        "run_id": metadata.run_id,
        "git_commit": commit,
        "data_hash": metadata.data_hash,
        "checkout": commit.removesuffix("-dirty") + note,
    }


def render_selection(run_id: str) -> str:
    """Return a warning if the network was chosen among several by figures on the test photos, and else nothing."""
    attempts = json.loads(ATTEMPTS.read_text()) if ATTEMPTS.exists() else []
    if len(attempts) < 2 or run_id not in {attempt["run_id"] for attempt in attempts}:
        return ""
    return (
        " The figures are slightly optimistic, because they were known when this network was\nchosen among the "
        "attempts in [RESULTS.md](../training/RESULTS.md)."
    )


def render_notes(run_id: str) -> dict[str, str]:
    """Return the notes on photos and mistakes, or placeholders if the notes describe another run."""
    heading, _, text = NOTES.read_text().partition("\n")
    if heading.removeprefix("# Run ").strip() != run_id[:8]:
        missing = f"([card_notes.md](card_notes.md) does not yet describe the {{}} of run `{run_id[:8]}`.)"
        return {"notes_photos": missing.format("photos"), "notes_mistakes": missing.format("mistakes")}
    photos, mistakes = text.split("## Photos\n")[1].split("## Mistakes\n")
    return {"notes_photos": photos.strip(), "notes_mistakes": mistakes.strip()}


if __name__ == "__main__":
    main()
