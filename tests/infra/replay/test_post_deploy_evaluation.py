"""Test the evaluation of a journal, and `make evaluate`."""

import re
from pathlib import Path

import pytest

from infra.replay.journal import read
from infra.replay.labeled_photos import find_photos
from infra.replay.sender import is_selected
from tests.infra.replay.replay_commands import collect, run_evaluation, write_photo
from tests.support.commands import execute, run
from tests.support.http_server import refusing_url


def test_a_share_of_the_photos_gets_feedback(url: str, photos: Path, tmp_path: Path) -> None:
    """Photos without feedback are classified and evaluated, too."""
    journal = tmp_path / "replay.jsonl"
    collect(url, photos, journal, "--share", "0.5")
    expected = {photo.name for photo in find_photos(photos) if is_selected(photo.read(), 0.5)}
    assert expected == {name for name, answer in read(journal).items() if answer.feedback_status == 200}
    assert {"sent": len(expected), "accepted": len(expected)} == run_evaluation(journal)[1]["feedback"]
    assert 0 < len(expected) < 6


def test_evaluation_has_all_figures(url: str, photos: Path, tmp_path: Path, capsys) -> None:
    """The evaluation has the accuracy with its interval, class scores, latencies and failures, and prints a table."""
    write_photo(photos / "cat/text.jpg", b"text")
    collect(url, photos, tmp_path / "replay.jsonl")
    code, evaluated = run_evaluation(tmp_path / "replay.jsonl")
    assert (0, 7, 6, {"unsupported_image": 1}) == (
        code,
        evaluated["photos"],
        evaluated["classified"],
        evaluated["failures"],
    )
    assert {"sent": 6, "accepted": 6} == evaluated["feedback"]
    assert (5 / 6, [0.4365, 0.9699]) == (
        evaluated["accuracy"],
        pytest.approx(evaluated["accuracy_interval"], abs=5e-5),
    )
    assert (["cat", "dog"], [[3, 0], [1, 2]]) == (evaluated["class_names"], evaluated["confusion_matrix"])
    assert (0.75, 1.0) == (evaluated["classes"]["cat"]["precision"], evaluated["classes"]["cat"]["recall"])
    assert {"2026.01.01-tiny": 6} == evaluated["model_versions"]
    assert 0 == evaluated["unknown"]
    latency = evaluated["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    shown = capsys.readouterr().out
    assert re.search(r"accuracy +83\.33 %, 95 % interval 43\.65 % to 96\.99 %\n", shown)
    assert re.search(r"failures +1 unsupported_image\n", shown)


@pytest.mark.process
def test_make_evaluate_collects_first() -> None:
    """With URL=, `make evaluate` sends the photos to the journal that it then evaluates."""
    recipe = run("make", "--dry-run", "evaluate", "URL=http://host", "DATA=photos", "SHARE=0", "JOURNAL=j")
    collect, _, evaluate = recipe.partition(" || ")
    assert 'python -m infra.replay "http://host" "photos" --output "j"' in collect
    assert '--share "0"' in collect
    assert 'python -m infra.replay.post_deploy_evaluation "j"' in evaluate


@pytest.mark.process
def test_make_evaluate_fails_without_service(url: str, photos: Path, tmp_path: Path) -> None:
    """If the service does not answer, `make evaluate` fails, also with the complete journal of an earlier run."""
    journal = tmp_path / "replay.jsonl"
    assert 0 == collect(url, photos, journal)
    with refusing_url() as address:
        files = (f"JOURNAL={journal}", f"JSON={tmp_path / 'evaluation.json'}")
        done = execute("make", "-o", ".venv/.train", "evaluate", f"URL={address}", f"DATA={photos}", *files)
    assert 2 == done.returncode, done.stdout
    assert f"{address}: ConnectError" in done.stderr
