"""What is not documented fails: routes, errors, settings, commands, figures, links."""

import re
from pathlib import Path

import pytest

from infra import results
from lambda_app.app import ROUTES
from lambda_app.errors import RequestError
from lambda_app.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def table_rows(first_heading: str) -> dict[str, list[str]]:
    """The table whose first column has this heading: first cell to the others, backquotes removed."""
    table = README[README.index(f"\n| {first_heading} |") :].strip().split("\n\n")[0]
    lines = [
        line for line in table.splitlines()[2:] if line.startswith("|")
    ]  # a block of `make results` ends in a mark
    rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_every_route_is_documented():
    """README lists the application's routes, no more and no less."""
    assert set(ROUTES) == set(table_rows("route"))


def test_every_error_code_is_documented():
    """With its HTTP status; so is what the framework answers."""
    listed = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", README, re.MULTILINE))
    ours = {(str(error.status), error.code) for error in RequestError.__subclasses__()}
    framework = {("404", "not_found"), ("405", "method_not_allowed"), ("500", "internal_error")}
    assert ours | framework == listed


def test_every_setting_is_documented_with_its_default():
    """The table of settings is that of the code."""
    defaults = {name.upper(): str(field.default) for name, field in Settings.model_fields.items()}
    defaults["MODEL_PATH"] = str(Path(defaults["MODEL_PATH"]).relative_to(ROOT))
    assert defaults == {name: cells[0] for name, cells in table_rows("variable").items()}


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "data/README.md",
        "export/MODEL_CARD.md",
        "training/RESULTS.md",
        "infra/README.md",
        "infra/bench/RESULTS.md",
    ],
)
def test_every_make_command_in_the_documents_exists(document):
    """What a reader is told to type is a target."""
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)) <= targets


def test_every_target_says_what_it_does():
    """`make help` lists the targets that have a comment; those without are steps of others."""
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    explained = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert {"check-code", "check-tests", "lint"} == phony - explained


def test_the_results_are_those_of_the_last_measurement():
    """README's tables and example are what `make results` makes of artifacts/."""
    assert results.rendered(README) == README


def test_the_results_are_of_the_file_that_serves(monkeypatch):
    """A model that lost, or was rolled back, is not measured under the name of another."""
    assert results._read("release")["sha256"] == results.served()
    monkeypatch.setattr(results, "served", lambda: "0" * 64)
    with pytest.raises(SystemExit, match=r"is not about the lambda_app/model\.onnx that serves"):
        results.main()


def test_every_relative_link_leads_somewhere():
    """In each document of the repository."""
    documents = [
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "training/RESULTS.md", "infra/README.md", "infra/bench/RESULTS.md")
    ]
    for document in [*documents, *ROOT.glob("data/**/README.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_page_weighs_what_readme_says():
    """In thousands of bytes."""
    size = (ROOT / "lambda_app/web/page.html").stat().st_size
    assert [f"{size / 1000:.0f}"] == re.findall(r"One file of (\d+) kB", README)
