"""Test the model card: its figures come from the pipeline, its notes from a person."""

import json
import re
from contextlib import chdir

import pytest

from export import card
from export.card import METRICS, NOTES, TEMPLATE, render, render_licenses
from export.card_figures import NOT_MEASURED, render_classes, render_mistakes
from export.files import CARD, MODEL, RELEASED
from export.registry import CHAMPION
from lambda_app.classifier import Classifier
from tests.export.challengers import REGISTRY, make_wrong, release_file, run_stage, write_sources
from tests.support import ROOT
from tests.support.drawing import LABELS
from tests.training.workspace import enter_copy
from training.metrics import wilson_interval
from training.source import sha256

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")


@pytest.fixture
def project(released, tmp_path, monkeypatch):
    """Make a copy of the files of the released project the working directory. It has no MLflow store."""
    enter_copy(released, tmp_path, monkeypatch, "mine", "mlflow.db")


@pytest.fixture
def registry(store):
    """Set up a project with a released model, the sources of the card, and an MLflow store."""
    write_sources()
    release_file(MODEL)


def find_figures(text):
    """Return all numbers in a text, as written."""
    return set(NUMBER.findall(text))


def collect_numbers(value):
    """Return all numbers in nested JSON."""
    if isinstance(value, dict | list):
        return [n for inner in (value.values() if isinstance(value, dict) else value) for n in collect_numbers(inner)]
    return [value] if isinstance(value, int | float) else []


def format_measured(evaluated):
    """Return all numbers in artifacts/metrics/, in every format that the card uses."""
    written = set()
    for path in METRICS.glob("*.json"):
        written |= find_figures(path.read_text())
        for number in collect_numbers(json.loads(path.read_text())):
            written |= find_figures(
                " ".join(form.format(number) for form in ("{:,}", "{:.2f}", "{:.3f}", "{:.4f}", "{:.4g}"))
            )
            written |= find_figures(f"{100 * number:.2f}")
    for scored in evaluated["sets"].values():
        bounds = [*scored["accuracy_interval"]]
        for index, row in enumerate(scored["confusion_matrix"]):
            bounds += [row[index] / sum(row), *wilson_interval(row[index], sum(row))]
            written |= find_figures(" ".join(f"{count:,}" for count in (sum(row), *row)))
        written |= find_figures(" ".join(f"{100 * bound:.2f}" for bound in bounds))
    return written


def test_card_contains_only_measured_figures(project):
    """Every number between the headings "Evaluation" and "Limitations" is in the metrics or the template."""
    text, template = render(), TEMPLATE.read_text()
    section = text[text.index("## Evaluation") : text.index("## Limitations")].split("([card_notes.md]")[0]
    evaluated = json.loads((METRICS / "evaluate.json").read_text())
    assert set() == find_figures(section) - format_measured(evaluated) - find_figures(template) - find_figures(
        " ".join(LABELS)
    )
    assert "100.00 %" in section


@pytest.mark.parametrize(
    ("stage", "path", "value", "expected"),
    [
        ("evaluate", "sets test accuracy", 0.4321, "43.21 %"),
        ("evaluate", "sets test accuracy_interval", [0.4111, 0.4999], "41.11 % to 49.99 %"),
        ("evaluate", "sets test calibration_error", 0.0765, "7.65 %"),
        ("evaluate", "outliers", {"flowers": {"photos": 1234, "unknown_rate": 0.8765, "roc_auc": 0.98}}, "| 87.65 % |"),
        ("verify", "behavior agreement gray_10", 0.8642, "| gray 10 | 86.42 % |"),
        ("prepare", "photos", 7654, "7,654 photos"),
        ("prepare", "relabeled", 1234, "1,234."),
        ("prepare", "split", "given", "split by the author of the data set into"),
        ("verify", "candidates fp32 latency_ms", 4.321, "| fp32 | 75.00 % | 1.25 | 4.32 |"),
        ("release", "reason", "better: 7 photos", "better: 7 photos."),
    ],
)
def test_card_follows_the_metrics(project, stage, path, value, expected):
    """A changed value in the metrics appears in the card."""
    file = METRICS / f"{stage}.json"
    report = json.loads(file.read_text())
    *keys, last = path.split()
    parent = report
    for key in keys:
        parent = parent[key]
    parent[last] = value
    assert expected not in render()
    file.write_text(json.dumps(report))
    assert expected in render()


def test_card_lists_what_was_not_judged(project):
    """Sets that no limit applied to are listed with the reason."""
    verdict = json.loads((METRICS / "verify.json").read_text()) | {"not_judged": ["test, because it has 34 photos"]}
    (METRICS / "verify.json").write_text(json.dumps(verdict))
    assert "\n\nNot judged: test, because it has 34 photos.\n" in render()


def test_card_is_unchanged_during_training(project, capsys):
    """The stage keeps the card of the served model while DVC trains the next one."""
    CARD.write_text("card of the served model")
    (METRICS / "train.json").unlink()
    card.main()
    assert "card of the served model" == CARD.read_text()
    assert "export/MODEL_CARD.md is unchanged" in capsys.readouterr().out


def test_card_identifies_the_file(project):
    """The card contains the hashes of file and photos, the run, the commit and the version."""
    text, metadata = render(), Classifier.load(RELEASED).metadata
    for name in (sha256(RELEASED), metadata.run_id, metadata.data_hash, metadata.git_commit, metadata.model_version):
        assert name in text


def test_card_supports_three_classes_and_one_set(project):
    """A card for three classes without other sets has no gaps and marks what was not measured."""
    text = render()
    assert text.startswith(f"# Model card: {' or '.join(LABELS)}\n")
    assert all(f"| test | {label} |" in text for label in LABELS)
    absent = [
        section.splitlines()[0] for section in re.split(r"^#+ ", text, flags=re.MULTILINE) if NOT_MEASURED in section
    ]
    assert ["Unknown photos", "Activation maps"] == absent
    assert not re.search(r"\$[a-z]", text)


def test_card_uses_notes_of_the_same_run(project):
    """Notes appear if they describe the served run; otherwise a placeholder does."""
    run_id = Classifier.load(RELEASED).metadata.run_id[:8]
    NOTES.write_text("# Run 00000000\n\n## Photos\n\nFrom a book.\n\n## Mistakes\n\nDark ones.\n")
    assert f"does not yet describe the mistakes of run `{run_id}`.)" in render()
    NOTES.write_text(NOTES.read_text().replace("00000000", run_id))
    text = render()
    assert text.index("## Training data and licenses") < text.index("From a book.") < text.index("## Training\n")
    assert text.index("## Mistakes") < text.index("Dark ones.") < text.index("## Limitations")


@pytest.mark.parametrize("name", ["kagglecatsanddogs_5340.zip", "dogs-vs-cats.tar.gz", "dogs-vs-cats.tar.xz"])
def test_license_is_that_of_the_archive(monkeypatch, name):
    """An archive of a set of the catalog has the license of the set, whatever the format of the archive."""
    monkeypatch.chdir(ROOT)
    assert render_licenses([name], []).endswith("Microsoft Research; for research")


def test_stage_stores_the_card_in_the_registry(registry):
    """The stage writes the card and tags the champion with it, so that a rollback can restore it."""
    card.main()
    assert render() == CARD.read_text() == REGISTRY.find_alias(CHAMPION).tags["card"]


def test_card_is_unchanged_if_the_challenger_loses(registry, capsys):
    """The card describes the served file after a challenger lost."""
    card.main()
    text = CARD.read_text()
    release_file(make_wrong())
    card.main()
    assert text == CARD.read_text()
    assert "export/MODEL_CARD.md is unchanged" in capsys.readouterr().out


def test_rollback_restores_the_card(registry):
    """The card follows the served file through a manual promotion and its rollback."""
    card.main()
    first = CARD.read_text()
    release_file(make_wrong())
    run_stage("--promote")
    card.main()
    assert sha256(RELEASED) in CARD.read_text()
    run_stage("--rollback")
    assert first == CARD.read_text()


def test_class_table_skips_absent_classes():
    """A class that a set lacks has no row; the others have recall and Wilson interval."""
    text = render_classes({"others": {"confusion_matrix": [[8, 2], [0, 0]]}}, ("cat", "dog"))
    assert ["| others | cat | 8 of 10 | 80.00 % | 49.02 % to 94.33 % |"] == text.splitlines()[2:]


def test_mistakes_are_sorted_by_frequency():
    """The most frequent confusions come first; a set without mistakes lists "none"."""
    scored = {"test": {"confusion_matrix": [[9, 1], [3, 7]]}, "others": {"confusion_matrix": [[9, 0], [0, 7]]}}
    expected = ["- test: 3 dog predicted as cat, 1 cat predicted as dog", "- others: none"]
    assert expected == render_mistakes(scored, ("cat", "dog")).splitlines()


def test_committed_card_is_current():
    """The committed card describes the served file and agrees with the committed metrics."""
    with chdir(ROOT):
        text, digest = CARD.read_text(), sha256(RELEASED)
        is_measured = json.loads((METRICS / "release.json").read_text())["sha256"] == digest
        assert digest in text
        if is_measured:
            assert render() == text
