"""The reference of a model that this checkout no longer has."""

import json
import subprocess

import pytest

from infra.report.drift import Reference
from infra.report.reference_history import REFERENCE, find

pytestmark = pytest.mark.process


@pytest.fixture
def repository(tmp_path, reference):
    """Two models' references, a broken one and none, a commit each."""

    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x", *arguments], cwd=tmp_path, check=True)

    git("init", "--quiet")
    path = tmp_path / REFERENCE
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


def test_an_older_models_reference_is_in_gits_history(repository, reference):
    """By the version that serves; what is broken there, or gone, is passed over."""
    found = {version: find(version, None, repository) for version in ("first", "second", "third")}
    assert ("first", "second", None) == (found["first"].model_version, found["second"].model_version, found["third"])
    assert reference.accuracy == found["first"].accuracy


def test_this_checkouts_own_needs_no_history(reference, tmp_path):
    """Nor does a week in which nothing served; where there is no Git, there is no other."""
    own = Reference("own", reference.columns)
    assert [own, own, None] == [find(version, own, tmp_path / "none") for version in ("own", None, "other")]
