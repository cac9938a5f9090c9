"""What a release says of itself."""

import pytest

from infra import release_notes

CHANGELOG = """# Changelog

## [Unreleased]

- Later.

## [0.2.0] - 2026-11-22

### Added

- A button.

## [0.1.0] - 2026-11-21

- All of it.
"""


@pytest.fixture
def releasable(tmp_path, monkeypatch):
    """A checkout of version 0.2.0."""
    monkeypatch.setattr(release_notes, "CHANGELOG", tmp_path / "CHANGELOG.md")
    monkeypatch.setattr(release_notes, "PYPROJECT", tmp_path / "pyproject.toml")
    release_notes.CHANGELOG.write_text(CHANGELOG)
    release_notes.PYPROJECT.write_text('[project]\nversion = "0.2.0"\n')


def test_the_notes_are_the_section_of_the_version(releasable, capsys):
    """Without its heading, and without what came before or after."""
    release_notes.main(["v0.2.0"])
    assert "### Added\n\n- A button.\n" == capsys.readouterr().out


def test_the_last_section_ends_with_the_file():
    """The oldest version has nothing below it."""
    assert "- All of it.\n" == release_notes.notes("v0.1.0", CHANGELOG, "0.1.0")


def test_the_notes_name_the_image_by_digest(releasable, capsys):
    """With the command that checks its provenance."""
    release_notes.main(["v0.2.0", "ghcr.io/owner/name@sha256:abc"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Image: `ghcr.io/owner/name@sha256:abc`.")
    assert "`gh attestation verify oci://ghcr.io/owner/name@sha256:abc --repo owner/name`" in last


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "v0.1.0", "v0.2.0-rc1", ""])
def test_a_tag_is_the_version_of_the_project(releasable, tag):
    """Any other one is named, with the one that was expected."""
    with pytest.raises(SystemExit, match=rf"^'{tag}': expected v0\.2\.0, the version in pyproject\.toml$"):
        release_notes.main([tag])


@pytest.mark.parametrize("changelog", [CHANGELOG.replace("0.2.0", "0.2.1"), "## [0.2.0]\n\n## [0.1.0]\n\n- All.\n"])
def test_a_version_that_the_changelog_does_not_describe_is_not_released(changelog):
    """No section is as bad as an empty one."""
    with pytest.raises(SystemExit, match=r"^CHANGELOG\.md has nothing under ## \[0\.2\.0\]; expected what changed$"):
        release_notes.notes("v0.2.0", changelog, "0.2.0")
