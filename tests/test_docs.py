"""Check that the documents are complete and correct."""

import re
import subprocess

import pytest

from infra import documents
from infra.bench.tables import read_bench
from lambda_app.errors import RequestError
from tests.support import ROOT

API = (ROOT / "lambda_app/README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
DOCUMENTS = [name for name in LISTED.stdout.split() if not name.startswith("tests/")]
GENERATED = re.search(r"^DOCUMENTS := (.*)$", MAKEFILE, re.MULTILINE)[1].split()
MAX_CELL = 120  # characters


def test_every_error_code_is_documented():
    """The API guide lists each error with its HTTP status, including those of the framework."""
    listed = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", API, re.MULTILINE))
    application = {(str(error.status), error.code) for error in RequestError.__subclasses__()}
    framework = {("404", "not_found"), ("405", "method_not_allowed"), ("500", "internal_error")}
    assert application | framework == listed


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_command_in_the_documents_exists(document):
    """Each `make` command in a document is a target of the Makefile. Earlier releases may have had others."""
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    text = "".join(re.split(r"^## \[", (ROOT / document).read_text(), flags=re.MULTILINE)[:3])
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_in_the_documents_exists(document):
    """Each `python -m` command of this repository names a module or a package."""
    named = re.findall(r"python -m ((?:infra|training|export|lambda_app|tests)[\w.]*)", (ROOT / document).read_text())
    paths = [ROOT / name.rstrip(".").replace(".", "/") for name in named]
    assert [] == [path for path in paths if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists())]


def test_every_file_in_the_map_of_the_code_exists():
    """Each path in the map of CONTRIBUTING.md exists."""
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Map of the code")[1].split("\n## ")[0]
    paths = [path for path in re.findall(r"`([\w./]+)`", section) if "/" in path or "." in path]
    assert [] == [path for path in paths if not (ROOT / path).exists()]
    assert len(paths) >= 30


@pytest.mark.parametrize("document", sorted({*DOCUMENTS} - {"export/MODEL_CARD.md", "export/card_template.md"}))
def test_table_cells_are_short(document):
    """No cell is longer than 120 characters without link targets; the model card belongs to the pipeline."""
    rows = [row for row in (ROOT / document).read_text().splitlines() if row.startswith("|")]
    cells = [re.sub(r"\]\([^)]*\)", "]", cell.strip()) for row in rows for cell in row.strip("|").split("|")]
    assert [] == [cell for cell in cells if len(cell) > MAX_CELL]


def test_readme_is_short():
    """README.md has at most 140 lines; everything else is in the document of its package."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 140


def test_every_document_with_generated_parts_is_checked():
    """The Makefile's DOCUMENTS lists every document that contains code for cog."""
    assert set(GENERATED) == {name for name in DOCUMENTS if "[[[cog" in (ROOT / name).read_text()}


def test_targets_that_generate_documents_install_what_cog_imports():
    """Each target that runs cog depends on .venv/.dev. `lint` has this prerequisite for `lint-documents`."""
    rules = re.findall(r"^([a-z-]+):([^#\n]*).*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    targets = {name: needs.split() for name, needs, recipe in rules if "$(COG)" in recipe and name != "lint-documents"}
    assert {"bench", "docs"} <= targets.keys()
    assert [] == [name for name, needs in targets.items() if ".venv/.dev" not in needs]


def test_results_of_another_model_are_rejected(monkeypatch):
    """`make results` stops if the metrics describe another file than the released model."""
    assert documents.read_metrics("release")["sha256"] == documents.hash_served_model()
    monkeypatch.setattr(documents, "hash_served_model", lambda: "0" * 64)
    with pytest.raises(SystemExit, match=rf"expected {'0' * 64}, that of lambda_app/model\.onnx\. Run `git checkout"):
        documents.main()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_to_a_file(document):
    """Each relative link names an existing file; links to GitHub's own pages start with ../../actions."""
    path = ROOT / document
    targets = re.findall(r"\]\((?!https?:|#|\.\./\.\./actions)([^)#\s]+)", path.read_text())
    assert [] == [target for target in targets if not (path.parent / target).exists()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_anchor_is_a_heading(document):
    """Each link to a section of a document names one of its headings."""
    path = ROOT / document
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#([\w-]+)\)", path.read_text()):
        linked = path.parent / target if target else path
        headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert anchor in anchors, f"{document}: {target}#{anchor}"


def test_results_without_docker_have_no_image_size(monkeypatch):
    """After a benchmark without Docker, which does not measure image sizes, the table has no row for them."""
    figures = read_bench()
    candidates = {name: candidate | {"image_mb": None} for name, candidate in figures["candidates"].items()}
    assert "| container image |" in documents.results()
    monkeypatch.setattr(documents, "read_bench", lambda: figures | {"candidates": candidates})
    assert "| container image |" not in documents.results()
