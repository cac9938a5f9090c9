"""Render the figures of the model card as Markdown tables, lists and paragraphs.

Each function takes the part of artifacts/metrics/*.json that it renders. Shares from 0 to 1 are written as percentages.
"""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import fill

from training.figures import Figures, read_figures
from training.markdown_table import percent, table
from training.metrics import wilson_interval

NOT_MEASURED = "Not measured."
MAX_CONFUSIONS = 5  # of a set in the list of mistakes
MAP_PICTURES = """\
![Mean probability of the predicted class by share of pixels](../artifacts/plots/activation_map_curves.png)

The bundled photos with their predicted classes, dark where the map is low:

![The bundled photos under their maps](../artifacts/plots/activation_map_examples.png)

Maps of misclassified photos, without the photos, which may not be published:

![Maps of misclassified photos](../artifacts/plots/activation_map_mistakes.png)"""


def render_sets(sets: Mapping[str, Figures]) -> str:
    """Return the table of scores by set."""
    head = ("set", "photos", "accuracy", "95 % interval", "ROC-AUC", "log loss")
    return table(head, ((name, *_score_cells(values)) for name, values in sets.items()))


def _score_cells(values: Figures) -> tuple[str, ...]:
    """Return the cells after the name of a set: photos, accuracy, interval, ROC-AUC, log loss."""
    scores = (f"{values[key]:.4f}" for key in ("roc_auc", "log_loss"))
    return f"{values['photos']:,}", percent(values["accuracy"]), format_interval(values["accuracy_interval"]), *scores


def render_classes(sets: Mapping[str, Figures], names: Sequence[str]) -> str:
    """Return the table of recall by set and class. Classes that a set lacks have no row."""
    rows = []
    for set_name, values in sets.items():
        for index, counts in enumerate(values["confusion_matrix"]):
            if total := sum(counts):
                correct = counts[index]
                recall = percent(correct / total), format_interval(wilson_interval(correct, total))
                rows.append((set_name, names[index], f"{correct:,} of {total:,}", *recall))
    return table(("set", "class", "correct", "recall", "95 % interval"), rows)


def render_calibration(evaluated: Figures) -> str:
    """Return the temperature and the expected calibration error of each set."""
    errors = (f"{name} {percent(values['calibration_error'])}" for name, values in evaluated["sets"].items())
    return fill_paragraph(
        f"Logits are divided by a temperature of {evaluated['temperature']:.3f}, fitted on validation photos. "
        f"Expected calibration error: {', '.join(errors)}."
    )


def render_unknown(evaluated: Figures) -> str:
    """Return the false alarms on photos of the classes, and the detection rate on other pictures."""
    false_alarms = (f"{name} {percent(values['unknown_rate'])}" for name, values in evaluated["sets"].items())
    head = ("pictures of other things", "photos", "called unknown", "ROC-AUC")
    rows = [
        (name, f"{values['photos']:,}", percent(values["unknown_rate"]), f"{values['roc_auc']:.4f}")
        for name, values in evaluated["outliers"].items()
    ]
    text = fill_paragraph(
        f"A photo is called unknown if its familiarity is below {evaluated['unknown_threshold']:.4g}. "
        f"Photos of the classes that are called unknown: {', '.join(false_alarms)}."
    )
    return f"{text}\n\n{table(head, rows) if rows else NOT_MEASURED}"


def render_activation_map(digest: str) -> str:
    """Return the deletion, insertion and pointing figures of the maps.

    Return `NOT_MEASURED` if they belong to another model file than the one with this SHA-256.
    """
    figures = read_figures("activation_map")  # written by export.experiments.faithfulness
    if figures["sha256"] != digest:
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


def render_areas(figures: Figures) -> str:
    """Return the table of areas under the curves, by kind of map."""
    head = (
        "curve",
        "better",
        *figures["deletion"]["areas"],
        *(f"gain on {kind}" for kind in figures["deletion"]["advantage"]),
    )
    rows = []
    for name, better in (("deletion", "lower"), ("insertion", "higher")):
        areas = (f"{area:.3f}" for area in figures[name]["areas"].values())
        advantages = figures[name]["advantage"].values()
        gains = (f"{gain['mean']:.3f} ({gain['low']:.3f} to {gain['high']:.3f})" for gain in advantages)
        rows.append((name, better, *areas, *gains))
    return table(head, rows)


def render_edits(behavior: Figures) -> str:
    """Return the table of how many photos keep their class after each edit."""
    rows = ((name.replace("_", " "), percent(share)) for name, share in behavior["agreement"].items())
    return table(("edit", "photos that keep their class"), rows)


def render_candidates(candidates: Mapping[str, Figures]) -> str:
    """Return the table of the candidate files."""
    sets = next(iter(candidates.values()))["sets"]
    head = ("file", *(f"accuracy, {name}" for name in sets), "MB", "ms per photo")
    return table(head, ((name, *_candidate_cells(values)) for name, values in candidates.items()))


def _candidate_cells(values: Figures) -> Iterator[str]:
    """Yield the cells after the name of a file: accuracy by set, size, latency."""
    yield from (percent(scores["accuracy"]) for scores in values["sets"].values())
    yield from (f"{values[key]:.2f}" for key in ("size_mb", "latency_ms"))


def render_mistakes(sets: Mapping[str, Figures], names: Sequence[str]) -> str:
    """Return the most frequent confusions of each set as a list."""
    lines = []
    for set_name, values in sets.items():
        matrix = values["confusion_matrix"]
        pairs = [(count, i, j) for i, row in enumerate(matrix) for j, count in enumerate(row) if i != j and count]
        worst = (
            f"{n:,} {names[i]} predicted as {names[j]}" for n, i, j in sorted(pairs, reverse=True)[:MAX_CONFUSIONS]
        )
        lines.append(f"- {set_name}: {', '.join(worst) or 'none'}")
    return "\n".join(lines)


def format_interval(bounds: Sequence[float]) -> str:
    """Return a pair of shares as percentages: `98.1 % to 99.0 %`."""
    return f"{percent(bounds[0])} to {percent(bounds[1])}"


def fill_paragraph(text: str) -> str:
    """Return the text in lines of at most 120 characters."""
    return fill(text, 120, break_long_words=False, break_on_hyphens=False)
