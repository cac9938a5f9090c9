"""Test finding the reference of an older model in Git's history."""

import json

import pytest

from infra.report.reference import GIT_PATH, Reference, find_reference
from tests.support.commands import GIT, run

pytestmark = pytest.mark.process


@pytest.fixture
def repository(tmp_path, reference):
    """Create a repository whose commits hold the references of two models, a broken one, and none."""

    def git(*arguments):
        run(*GIT, *arguments, folder=tmp_path)

    git("init", "--quiet")
    path = tmp_path / GIT_PATH
    path.parent.mkdir()
    columns = {name: column.tolist() for name, column in reference.columns.items()}
    for version in ("first", "second"):
        path.write_text(json.dumps({"model_version": version, "columns": columns}))
        git("add", ".")
        git("commit", "--quiet", "--message", version)
    path.write_text("{")
    git("commit", "--quiet", "--all", "--message", "broken")
    path.unlink()
    git("commit", "--quiet", "--all", "--message", "gone")
    return tmp_path


def test_older_reference_is_found_in_history(repository, reference):
    """Broken and deleted references are skipped."""
    found = {version: find_reference(version, None, repository) for version in ("first", "second", "third")}
    assert ("first", "second", None) == (found["first"].model_version, found["second"].model_version, found["third"])
    assert reference.accuracy == found["first"].accuracy


def test_current_reference_needs_no_history(reference, tmp_path):
    """The reference is returned for its own version and without a serving version, and None for another one."""
    own = Reference("own", reference.columns)
    assert [own, own, None] == [find_reference(version, own, tmp_path / "none") for version in ("own", None, "other")]
