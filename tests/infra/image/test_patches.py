"""Test the patches of pinned packages against the installed packages, which have the versions of the image."""

import http.client
from importlib.util import find_spec
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from infra.image.patches import PATCHES, Patch, PatchError, patch_packages


def installed(patch: Patch) -> str:
    """Return the installed file that a patch is for, which is unpatched."""
    package, _, file = patch.file.partition("/")
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / file).read_text()


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.file)
def test_patch_fits_the_pinned_package(patch):
    """The pinned package has the file that the patch was written for, and the patched file compiles."""
    patched = patch.apply(installed(patch))
    assert patched != installed(patch)
    compile(patched, patch.file, "exec")


def test_patched_exception_has_the_phrases_of_http_client():
    """Without http.client, the detail of an error is the same phrase, and empty for an unknown code."""
    [patch] = [each for each in PATCHES if each.file == "starlette/exceptions.py"]
    module = {"__name__": "patched"}
    exec(patch.apply(installed(patch)), module)
    codes = [*http.client.responses, 599]
    assert [HTTPException(code).detail for code in codes] == [module["HTTPException"](code).detail for code in codes]


@pytest.fixture
def packages(tmp_path):
    """Return a folder with the files that the patches are for."""
    for patch in PATCHES:
        (tmp_path / patch.file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / patch.file).write_text(installed(patch))
    return tmp_path


def test_changed_package_fails_before_any_change(packages):
    """If a file of a package has changed, the error names it, and no file is patched."""
    changed = PATCHES[-1]
    (packages / changed.file).write_text("# a new version\n")
    with pytest.raises(PatchError, match=rf"{changed.file} has the SHA-256 \w+; expected {changed.sha256}: .* changed"):
        patch_packages(packages)
    assert installed(PATCHES[0]) == (packages / PATCHES[0].file).read_text()


def test_packages_are_patched(packages):
    """Files are patched; a patch without replacements empties its file."""
    patch_packages(packages)
    texts = {patch.file: (packages / patch.file).read_text() for patch in PATCHES}
    assert "" == texts["numpy/_core/_add_newdocs.py"]
    assert '"defer_build": True' in texts["fastapi/openapi/models.py"]
