"""Check the plugins of tests/support: the summary, the selection of a fast run, the distribution to workers."""

import json
import re
import subprocess
import sys

import pytest

from tests.support import ROOT, coverage, distribution, missing_programs

pytest_plugins = ("pytester",)

SKIPPING = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_image(number):
    pytest.skip("no Docker engine answers")

@pytest.mark.skipif(True, reason="chromium is not on PATH")
def test_page():
    pass
"""
STARTING = """
import subprocess, sys
import pytest

def start():
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_unmarked():
    start()

@pytest.mark.process
def test_marked():
    start()
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run pytest with only the plugins of this suite on one file, in this process, and return its output."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeini("[pytest]\nmarkers = process: starts a program")

    def run(source: str, *arguments: str, isolated: bool = False) -> str:
        pytester.makepyfile(source)
        command = ("-p", "tests.support.fast", "-p", "tests.support.terminal_summary", *arguments)
        return (pytester.runpytest_subprocess if isolated else pytester.runpytest_inprocess)(*command).stdout.str()

    return run


def test_skips_are_grouped_by_reason(run):
    """Tests that were skipped for the same reason share a line, and the most frequent reason is first."""
    output = run(SKIPPING)
    assert ["     3  no Docker engine answers", "     1  chromium is not on PATH"] == re.findall(
        r"^ +\d+  .*$", output, re.MULTILINE
    )
    assert re.search(r"=+ 4 skipped in ", output)


def test_missing_program_skips_test_before_its_fixtures(run, pytester, monkeypatch):
    """A test with the marker of a missing program is skipped with the reason, and its fixtures do not start."""
    monkeypatch.setattr(missing_programs, "explain_missing", lambda marker: f"no {marker}" if marker == "rie" else "")
    pytester.makeini("[pytest]\nmarkers = rie: needs the emulator")
    source = """
import pytest

@pytest.fixture
def program():
    raise AssertionError

@pytest.mark.rie
def test_program(program):
    pass
"""
    assert "     1  no rie" in run(source, "-p", "tests.support.missing_programs")


@pytest.mark.parametrize(("variable", "marker"), [("AWS_LAMBDA_RIE", "rie"), ("PATH", "docker")])
def test_missing_program_is_explained(variable, marker, monkeypatch):
    """The reason is not empty without the program, and empty for other markers."""
    monkeypatch.setenv(variable, "/nowhere")
    explain = missing_programs.explain_missing.__wrapped__
    assert ("", True) == (explain("slow"), bool(explain(marker)))


def test_fast_run_rejects_unmarked_programs(run):
    """A test that starts a program without the marker `process` fails, and a marked one is not run."""
    output = run(STARTING, "--fast", isolated=True)  # its audit hook stays until the process ends
    assert "subprocess.Popen" in output
    assert "expected the marker `process`" in output
    assert re.search(r"1 failed, 1 deselected in ", output)


def test_fast_run_hides_pytorch(run):
    """Without --fast, a test can import PyTorch, and with --fast it cannot, although PyTorch is installed."""
    source = "def test_pytorch(): import torch"
    # In this process, pytester would remove PyTorch from sys.modules, and the next import would crash.
    assert re.search(r"1 passed in ", run(source, isolated=True))
    output = run(source, "--fast", isolated=True)
    assert "torch is hidden from fast tests" in output
    assert re.search(r"1 failed in ", output)


def test_coverage_counts_lines_and_branches_by_package(tmp_path, monkeypatch):
    """One of two branches and two of three lines of a package are 60 %; the total covers all packages."""
    for package in coverage.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "infra/tool.py").write_text("import sys\nif len(sys.argv) > 5:\n    print()\n")
    (tmp_path / "pyproject.toml").write_text("[tool.coverage.run]\nbranch = true\nrelative_files = true\n")
    command = [sys.executable, "-m", "coverage", "run", "-m", "infra.tool"]
    subprocess.run(command, cwd=tmp_path, env={}, check=True)  # env={} disables the coverage of this test run
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(coverage, "ROOT", tmp_path)
    monkeypatch.setattr(coverage, "OUTPUT", tmp_path / "coverage.json")
    assert {"infra": 60.0, "total": 60.0} == coverage.measure()
    coverage.main()
    assert {"infra": 60.0, "total": 60.0} == json.loads((tmp_path / "coverage.json").read_text())


def test_coverage_needs_a_test_run(tmp_path, monkeypatch):
    """Without data, the error message names the command that creates it."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(coverage, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"coverage: No data to report\.; run `make coverage`"):
        coverage.main()


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/training/test_state.py::test_cut_off[a::b/c]", "training"),
        ("tests/export/test_card.py::test_card", "export"),
        ("tests/infra/test_loop.py::test_photos", "infra/test_loop.py"),
        ("tests/test_docs.py::TestClass::test_links", "test_docs.py"),
    ],
)
def test_group_is_a_file_or_a_folder_of_one_worker(nodeid, expected):
    """All tests of training/ form one group, those of export/ another, and those of any other file their own."""
    assert expected == distribution.group(nodeid)


def test_longest_groups_exist():
    """Every entry of `LONGEST` is a file or folder of tests."""
    assert [] == [name for name in distribution.LONGEST if not (distribution.TESTS / name).exists()]


def test_longest_groups_run_first(pytester, monkeypatch):
    """pytest-xdist's workers run tests/training before any other file, in every random order."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    files = ["tests/test_docs.py", "tests/training/test_split.py"]
    for file in files:
        path = pytester.path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("def test_nothing(): pass")
    plugins = ("-p", "xdist", "-p", "tests.support.distribution", "--numprocesses", "1", "--no-loadscope-reorder")
    output = pytester.runpytest_subprocess("-v", *plugins, *files).stdout.str()
    run = re.findall(r"PASSED (tests/\S+?)::", output)
    assert list(reversed(files)) == list(dict.fromkeys(run))
