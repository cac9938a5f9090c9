"""Test the benchmark of decoding and the fuzzer: their files, limits and tables."""

import os
import random
from itertools import islice

import pytest

from infra.bench import decoding, fuzz
from infra.bench.decoding import hostile_files

SOURCE = {"hardware": "test machine", "commit": "0123456789ab"}
PROGRAM = """
import json, os
print(json.dumps({"seconds": 0, "mb": 0, "cores": len(os.sched_getaffinity(0))}))
"""


def make_row(**figures):
    defaults = {
        "name": "PNG",
        "kb": 1,
        "seconds": 1.0,
        "bound_s": 1.5,
        "mb": 100,
        "bound_mb": 120,
    }
    return defaults | figures


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({}, []),
        ({"seconds": 2.5, "bound_s": 3}, ["2.50 s of 2.0"]),
        ({"mb": 600, "bound_mb": 700}, ["600.00 MB of 500"]),
        ({"seconds": 1.6}, ["1.60 s, expected 1.50"]),
        ({"mb": 131}, ["131.00 MB, expected 120.00"]),
        ({"refused": "413: too large", "seconds": 0.05}, []),
        ({"refused": "413: too large", "seconds": 0.2}, ["refused after 0.20 s"]),
    ],
)
def test_decoding_reports_files_over_a_limit(figures, expected):
    """Each limit is checked, and the bound computed from the header, which admission relies on."""
    assert expected == decoding.find_violations(make_row(**figures))


def test_decoding_table_shows_the_status_of_refused_files():
    """An accepted file has its cost and its bound; a refused file has no bound. The text states missed limits."""
    refused = make_row(refused="422: damaged", name="JPEG")
    del refused["bound_s"], refused["bound_mb"]
    table = decoding.render(SOURCE | {"rows": [make_row(), refused]}).splitlines()
    assert "| PNG | 1 | 1.00 | 1.50 | 100 | 120 | 200 |" == table[2]
    assert "| JPEG | 1 | 1.00 |  | 100 |  | 422 |" == table[3]
    assert table[5].startswith("Limits: **missed** (JPEG: refused after 1.00 s).")


@pytest.mark.slow
@pytest.mark.process
def test_decoding_measures_hostile_files(monkeypatch):
    """Crafted files are decoded in a process of their own and refused with 422."""
    monkeypatch.setattr(decoding, "large_files", lambda: iter(()))
    monkeypatch.setattr(decoding, "hostile_files", lambda: islice(hostile_files(), 2))
    rows = decoding.measure()["rows"]
    assert ["422", "422"] == [each["refused"][:3] for each in rows]
    assert all(each["seconds"] >= 0 for each in rows)


@pytest.mark.process
def test_decoding_runs_on_one_core(tmp_path, monkeypatch):
    """The program that decodes may use one core, as the figures state."""
    program = tmp_path / "count_cores.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(decoding, "PROGRAM", program)
    monkeypatch.setattr(decoding, "large_files", lambda: iter([("PNG", b"")]))
    monkeypatch.setattr(decoding, "hostile_files", lambda: iter(()))
    assert [1] == [each["cores"] for each in decoding.measure()["rows"]]


@pytest.mark.process
def test_fuzzed_server_runs_on_one_core():
    """The server may use one core, as the figures state."""
    with fuzz.run_server() as (_, pid):
        assert 1 == len(os.sched_getaffinity(pid))


def test_fuzzer_is_deterministic():
    """Equal seeds give equal requests, so that a failure can be reproduced."""
    files = fuzz.make_originals()
    first, second = ([fuzz.make_request(files, random.Random(7)) for _ in range(3)] for _ in range(2))
    assert first == second
    assert first != [fuzz.make_request(files, random.Random(8)) for _ in range(3)]


@pytest.mark.slow
@pytest.mark.process
def test_fuzzer_counts_every_response():
    """The real function behind uvicorn responds to every request, without server errors."""
    figures = fuzz.measure(requests=40, seed=1)
    assert 40 == sum(count for each in figures["rows"] for count in each["statuses"].values())
    assert [] == [violation for violation in fuzz.find_violations(figures) if " x " in violation]


@pytest.mark.parametrize(
    ("statuses", "slowest", "more_mb", "expected"),
    [
        ({"200": 3, "422": 1}, 1.0, 20, []),
        ({"500": 2}, 1.0, 20, ["PNG: 2 x 500"]),
        ({"200": 1}, 5.1, 20, ["PNG: 5.1 s"]),
        ({"200": 1}, 1.0, 501, ["memory grew by 501 MB"]),
    ],
)
def test_fuzzer_reports_server_errors_hangs_and_memory(statuses, slowest, more_mb, expected):
    """Each of the three limits is checked."""
    rows = [{"name": "PNG", "statuses": statuses, "slowest": slowest}]
    assert expected == fuzz.find_violations({"more_mb": more_mb, "rows": rows})


def test_tables_cite_their_source():
    """The tables of both measurements name the machine and the commit."""
    for render in (decoding.render, fuzz.render):
        assert "Measured on test machine; commit `0123456789ab`." == render(SOURCE | {"rows": []}).splitlines()[-1]
