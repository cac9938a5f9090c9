"""Test `make baseline`, which writes the reference for drift from a good week."""

import json
import re

from infra.report import benchmark
from infra.report.baseline import MAX_PHOTOS, main
from infra.report.drift import SIGNAL_COLUMNS
from infra.report.log_reader import read
from infra.report.reference import Reference
from tests.infra.report.lines import prediction


def write_baseline(folder, lines, *options):
    (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return main([str(folder / "log.jsonl"), "--out", str(folder / "baseline.json"), *options])


def test_baseline_is_a_sample_of_the_serving_version(tmp_path):
    """The baseline has shuffled rows of the log without ids, times and labels."""
    lines = [json.dumps(line) for line in benchmark.generate_traffic(5000)]
    old = [prediction(number, model_version="old") for number in range(300)]
    assert 0 == write_baseline(tmp_path, [*old, *lines])
    values = json.loads((tmp_path / "baseline.json").read_text())
    assert [{"model_version", "photos", "columns"}, set(SIGNAL_COLUMNS)] == [set(values), set(values["columns"])]
    found = Reference.read(tmp_path / "baseline.json", labeled=False)
    assert (MAX_PHOTOS, "baseline photos") == (len(found), found.description)
    logged = read(lines).requests
    rows, all_rows = (
        [*zip(*(table[name] for name in SIGNAL_COLUMNS), strict=True)] for table in (found.columns, logged)
    )
    assert set(rows) <= set(all_rows)
    assert rows != all_rows[:MAX_PHOTOS]


def test_baseline_needs_500_photos(tmp_path, capsys):
    """The one-line error has the number of photos; synthetic ones count only if requested."""
    lines = [prediction(number, synthetic=number >= 300) for number in range(600)]
    assert 1 == write_baseline(tmp_path, lines)
    assert (
        "baseline: the log has 300 predictions of 1 with every signal; expected 500 or more\n"
        == capsys.readouterr().err
    )
    assert 0 == write_baseline(tmp_path, lines, "--synthetic")


def test_baseline_needs_a_log_with_requests(tmp_path, capsys):
    """An empty log and an unreadable one each yield a one-line error."""
    assert 1 == write_baseline(tmp_path, [])
    assert 1 == main([str(tmp_path), "--out", str(tmp_path / "out")])
    assert re.fullmatch(r"baseline: the log has 0 .*\nbaseline: \S+ is a folder; .*\n", capsys.readouterr().err)
