"""Write the model card of the served model.

Figures come from artifacts/metrics/ (rendered by `export.card_figures`) and the metadata of the model file, prose from
`export/card_template.md`, and descriptions that only a person can write from `export/card_notes.md`.
"""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from export.card_figures import (
    fill_paragraph,
    render_activation_map,
    render_calibration,
    render_candidates,
    render_classes,
    render_edits,
    render_mistakes,
    render_sets,
    render_unknown,
)
from export.files import CARD, RELEASED
from export.registry import CARD_TAG, CHAMPION, Registry
from lambda_app.classifier import Classifier
from lambda_app.metadata import Metadata
from training import config
from training.catalog import CatalogEntry, find_place, read_catalog
from training.figures import METRICS, Figures, read_figures
from training.source import sha256
from training.source.source_reader import ARCHIVE

TEMPLATE = Path("export/card_template.md")
NOTES = Path("export/card_notes.md")


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
    """Return whether artifacts/metrics/ describes the served model."""
    if not (METRICS / "train.json").exists():  # DVC deletes it while it evaluates
        return False
    run_id = Classifier.load(RELEASED).metadata.run_id
    return bool(read_figures("train")["run_id"] == run_id and read_figures("release")["sha256"] == sha256(RELEASED))


def render() -> str:
    """Return the whole card, from files alone."""
    metadata = Classifier.load(RELEASED).metadata
    evaluated, verified, released = read_figures("evaluate"), read_figures("verify"), read_figures("release")
    parts = {
        "title": " or ".join(metadata.class_names),
        "classes": ", ".join(metadata.class_names),
        "model_version": metadata.model_version,
        "architecture": f"`{metadata.architecture}`",
        "parameters": f"{metadata.parameters:,}",
        "image_size": metadata.image_size,
        "size": f"{released['size_mb']:.2f} MB",
        "data": render_data(read_figures("prepare")),
        "licenses": render_licenses(read_figures("train").get("sources"), [*evaluated["sets"], *evaluated["outliers"]]),
        "sets": render_sets(evaluated["sets"]),
        "by_class": render_classes(evaluated["sets"], metadata.class_names),
        "calibration": render_calibration(evaluated),
        "unknown": render_unknown(evaluated),
        "activation_map": render_activation_map(sha256(RELEASED)),
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


def render_data(prepared: Figures) -> str:
    """Return how many photos there are by class, split and reason for exclusion, and how many were relabeled."""
    classes = ", ".join(f"{count:,} {name}" for name, count in prepared["classes"].items())
    splits = ", ".join(f"{count:,} {name}" for name, count in prepared["splits"].items())
    excluded = "; ".join(f"{reason} ({count:,})" for reason, count in prepared["set_aside"].items())
    source = " by the author of the data set" if prepared["split"] == "given" else ""
    relabeled = f" Relabeled by reviewers: {prepared['relabeled']:,}." if prepared["relabeled"] else ""
    return fill_paragraph(
        f"{prepared['photos']:,} photos ({classes}), split{source} into {splits}. Excluded: {excluded or 'none'}."
        f"{relabeled}"
    )


def render_licenses(sources: Sequence[str] | None, further: Sequence[str]) -> str:
    """Return the license of each set of the catalog that was trained on, or scored as a further set.

    `sources` are None for a model that was trained before they were recorded.
    """
    names = [*(sources or ()), *further]
    used = [entry for key, entry in read_catalog().items() if any(is_from(name, key, entry) for name in names)]
    lines = [f"- {entry['title']}: {entry['license']}" for entry in used]
    if sources is None:
        lines.append("Not listed: the model was trained before the pipeline recorded its data sets.")
    elif not used:
        lines.append("No set of the catalog was used. The license of the photos is that of their source.")
    return "\n".join(lines)


def is_from(name: str, key: str, entry: CatalogEntry) -> bool:
    """Return whether a file or folder of that name holds photos of the catalog's entry."""
    return ARCHIVE.sub("", name) in {key, ARCHIVE.sub("", find_place(key, entry).name), *entry.get("names", ())}


def render_recipe() -> dict[str, str]:
    """Return the parameters of the released training, as it recorded them; params.yaml may have changed since."""
    trained = read_figures("train")
    weights = trained["train"]["weights"]
    start = f"from the weights `{weights}`" if weights else "from random weights"
    keys = (f"{section}.{key} {value}" for section in ("train", "augment") for key, value in trained[section].items())
    return {"start": start, "recipe": fill_paragraph(", ".join(keys) + ".")}


def render_provenance(metadata: Metadata) -> dict[str, str]:
    """Return the run, the data hash, and the commit with the argument of `git checkout` that restores it."""
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
    attempts = read_figures("attempts")  # written by training.tools.attempts
    if len(attempts) < 2 or run_id not in {attempt["run_id"] for attempt in attempts}:
        return ""
    return (
        "\nThe figures are slightly optimistic, because they were known when this network was chosen among the attempts"
        "\nin [RESULTS.md](../training/RESULTS.md)."
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
