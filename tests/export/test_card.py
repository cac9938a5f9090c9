"""The model card: its figures are those that the pipeline measured, its words a person's."""

import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from export import card
from export.card import ABSENT, METRICS, NOTES, TEMPLATE, by_class, mistakes, render
from export.convert import MODEL
from export.registry import CHAMPION
from export.release import CARD, RELEASED
from lambda_app.classifier import Classifier
from tests.drawing import LABELS
from tests.export.challengers import REGISTRY, released, run, wrong
from tests.training.workspace import ROOT
from training.metrics import wilson
from training.source import sha256

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")


@pytest.fixture
def project(store):
    """A project with a released model and what the card is made of."""
    for name in (TEMPLATE, NOTES):
        shutil.copyfile(ROOT / name, name)
    Path("data").mkdir(exist_ok=True)
    shutil.copyfile(ROOT / "data/datasets.yaml", "data/datasets.yaml")
    released(MODEL)


def figures(text):
    return set(NUMBER.findall(text))


def numbers(value):
    """Every number of a report, whatever its shape."""
    if isinstance(value, dict | list):
        return [n for inner in (value.values() if isinstance(value, dict) else value) for n in numbers(inner)]
    return [value] if isinstance(value, int | float) else []


def measured(value):
    """Every number of artifacts/metrics/, in the ways that the card writes numbers."""
    written = set()
    for path in METRICS.glob("*.json"):
        written |= figures(path.read_text())
        for number in numbers(json.loads(path.read_text())):
            written |= figures(
                " ".join(form.format(number) for form in ("{:,}", "{:.2f}", "{:.3f}", "{:.4f}", "{:.4g}"))
            )
            written |= figures(f"{100 * number:.2f}")
    for scored in value["sets"].values():
        bounds = [*scored["accuracy_interval"]]
        for index, row in enumerate(scored["confusion_matrix"]):
            bounds += [row[index] / sum(row), *wilson(row[index], sum(row))]
            written |= figures(" ".join(f"{count:,}" for count in (sum(row), *row)))
        written |= figures(" ".join(f"{100 * bound:.2f}" for bound in bounds))
    return written


def test_every_figure_was_measured(project):
    """No number between the headings "Figures" and "Limits" is anybody's but the pipeline's."""
    text, template = render(), TEMPLATE.read_text()
    section = text[text.index("## Figures") : text.index("## Limits")].split("(Nobody has")[0]
    evaluated = json.loads((METRICS / "evaluate.json").read_text())
    assert set() == figures(section) - measured(evaluated) - figures(template) - figures(" ".join(LABELS))
    assert "100.00 %" in section


@pytest.mark.parametrize(
    ("stage", "path", "value", "expected"),
    [
        ("evaluate", "sets test accuracy", 0.4321, "43.21 %"),
        ("evaluate", "sets test accuracy_interval", [0.4111, 0.4999], "41.11 % to 49.99 %"),
        ("evaluate", "sets test calibration_error", 0.0765, "7.65 %"),
        ("evaluate", "outliers", {"flowers": {"photos": 1234, "recognised": 0.8765, "roc_auc": 0.98}}, "| 87.65 % |"),
        ("verify", "behaviour agreement grey_10", 0.8642, "| grey 10 | 86.42 % |"),
        ("prepare", "photos", 7654, "7,654 photos"),
        ("verify", "candidates fp32 latency_ms", 4.321, "| fp32 | 75.00 % | 1.25 | 4.32 |"),
        ("release", "reason", "better: 7 photos", "better: 7 photos."),
    ],
)
def test_follows_the_metrics(project, stage, path, value, expected):
    """What the pipeline measures anew, the card says anew."""
    file = METRICS / f"{stage}.json"
    report = json.loads(file.read_text())
    *keys, last = path.split()
    place = report
    for key in keys:
        place = place[key]
    place[last] = value
    assert expected not in render()
    file.write_text(json.dumps(report))
    assert expected in render()


def test_not_judged(project):
    """What no limit was held against is named."""
    verdict = json.loads((METRICS / "verify.json").read_text()) | {"not_judged": ["test; it has 34 photos"]}
    (METRICS / "verify.json").write_text(json.dumps(verdict))
    assert "\n\nNot judged: test; it has 34 photos.\n" in render()


def test_training_under_way(project, capsys):
    """While DVC trains anew, the card of the model that serves stays."""
    card.main()
    text = CARD.read_text()
    (METRICS / "train.json").unlink()
    card.main()
    assert text == CARD.read_text()
    assert "export/MODEL_CARD.md stays" in capsys.readouterr().out


def test_names_the_file(project):
    """It says which file, run and photos it is about."""
    text, metadata = render(), Classifier.load(RELEASED).metadata
    for name in (sha256(RELEASED), metadata.run_id, metadata.data_hash, metadata.git_commit, metadata.model_version):
        assert f"{name}" in text


def test_three_classes_alone(project):
    """Three classes and no further sets make a card without gaps; what was not measured is said."""
    text = render()
    assert text.startswith(f"# Model card: {' or '.join(LABELS)}\n")
    assert all(f"| test | {label} |" in text for label in LABELS)
    absent = [section.splitlines()[0] for section in re.split(r"^#+ ", text, flags=re.MULTILINE) if ABSENT in section]
    assert ["Unknown"] == absent
    assert not re.search(r"\$[a-z]", text)


def test_notes(project):
    """A person's words are taken where they are about the run that serves, and missed where they are not."""
    run_id = Classifier.load(RELEASED).metadata.run_id[:8]
    NOTES.write_text("# Run 00000000\n\n## Photos\n\nFrom a book.\n\n## Mistakes\n\nDark ones.\n")
    assert f"(Nobody has described the mistakes of run `{run_id}` in words yet" in render()
    NOTES.write_text(NOTES.read_text().replace("00000000", run_id))
    text = render()
    assert text.index("## Photos and licences") < text.index("From a book.") < text.index("## Training")
    assert text.index("## Its mistakes") < text.index("Dark ones.") < text.index("## Limits")


def test_written(project):
    """The stage writes the card, and the version keeps it for the day of a rollback."""
    card.main()
    assert render() == CARD.read_text() == REGISTRY.holder(CHAMPION).tags["card"]


def test_champion_stays(project, capsys):
    """Where a challenger lost, the card goes on describing the file that serves."""
    card.main()
    text = CARD.read_text()
    released(wrong())
    card.main()
    assert text == CARD.read_text()
    assert "export/MODEL_CARD.md stays" in capsys.readouterr().out


def test_back_and_forth(project):
    """After a rollback and its undoing the card is again that of the file that serves."""
    card.main()
    first = CARD.read_text()
    released(wrong())
    run("--promote")
    card.main()
    assert sha256(RELEASED) in CARD.read_text()
    run("--rollback")
    assert first == CARD.read_text()


def test_by_class():
    """A class that a set does not show has no line; the others have theirs with Wilson's interval."""
    text = by_class({"others": {"confusion_matrix": [[8, 2], [0, 0]]}}, ("cat", "dog"))
    assert ["| others | cat | 8 of 10 | 80.00 % | 49.02 % to 94.33 % |"] == text.splitlines()[2:]


def test_mistakes():
    """The most frequent confusions come first; a set without any says so."""
    scored = {"test": {"confusion_matrix": [[9, 1], [3, 7]]}, "others": {"confusion_matrix": [[9, 0], [0, 7]]}}
    expected = ["- test: 3 dog taken for cat, 1 cat taken for dog", "- others: none"]
    assert expected == mistakes(scored, ("cat", "dog")).splitlines()


def test_committed():
    """The repository's card is of the file that serves, and says what the committed metrics say of it."""
    with chdir(ROOT):
        text, digest = CARD.read_text(), sha256(RELEASED)
        about_it = json.loads((METRICS / "release.json").read_text())["sha256"] == digest
        assert digest in text
        assert text == (render() if about_it else text)
