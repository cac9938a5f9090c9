"""Check that the documents cover routes, errors, settings and commands, and that their figures and links are valid."""

import re
from pathlib import Path

import pytest

from infra import results
from lambda_app.errors import RequestError
from lambda_app.settings import Settings
from tests.support.routes import ROUTES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def table_rows(first_heading: str) -> dict[str, list[str]]:
    """Return the rows of the table with this heading: the first cell to the others, without backquotes."""
    table = README[README.index(f"\n| {first_heading} |") :].strip().split("\n\n")[0]
    lines = [line for line in table.splitlines()[2:] if line.startswith("|")]  # skips the end mark of a generated block
    rows = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_every_route_is_documented():
    """README lists exactly the routes of the app."""
    assert set(ROUTES) == set(table_rows("route"))


def test_every_error_code_is_documented():
    """README lists the codes of this API and of the framework, with their HTTP status."""
    listed = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", README, re.MULTILINE))
    own = {(str(error.status), error.code) for error in RequestError.__subclasses__()}
    framework = {("404", "not_found"), ("405", "method_not_allowed"), ("500", "internal_error")}
    assert own | framework == listed


def test_every_setting_is_documented_with_its_default():
    """README's table of settings equals the fields of `Settings`."""
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
def test_make_commands_in_documents_exist(document):
    """Every `make` command of a document is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE)) <= targets


def test_every_target_has_a_description():
    """`make help` lists targets with a comment; the exceptions are steps of other targets."""
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split())
    explained = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert {"check-code", "check-tests", "lint"} == phony - explained


def test_generated_blocks_are_current():
    """README's tables and example equal what `make results` renders from artifacts/."""
    assert results.rendered(README) == README


def test_results_describe_the_served_model(monkeypatch):
    """`make results` rejects metrics of a model other than the released one."""
    assert results._read("release")["sha256"] == results.served()
    monkeypatch.setattr(results, "served", lambda: "0" * 64)
    with pytest.raises(SystemExit, match=r"is not about the lambda_app/model\.onnx that serves"):
        results.main()


def test_relative_links_exist():
    """The target of every relative link in the documents exists."""
    documents = [
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "training/RESULTS.md", "infra/README.md", "infra/bench/RESULTS.md")
    ]
    for document in [*documents, *ROOT.glob("data/**/README.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_readme_states_the_size_of_the_page():
    """README states the size of the page in kB."""
    size = (ROOT / "lambda_app/web/page.html").stat().st_size
    assert [f"{size / 1000:.0f}"] == re.findall(r"One file of (\d+) kB", README)
