"""Test the notes of a release."""

import pytest
import release_notes

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
    """Point the script at a changelog and a project of version 0.2.0."""
    monkeypatch.setattr(release_notes, "CHANGELOG", tmp_path / "CHANGELOG.md")
    monkeypatch.setattr(release_notes, "PYPROJECT", tmp_path / "pyproject.toml")
    release_notes.CHANGELOG.write_text(CHANGELOG)
    release_notes.PYPROJECT.write_text('[project]\nversion = "0.2.0"\n')


def test_notes_are_section_of_version(releasable, capsys):
    """The notes are the version's section without its heading and without other sections."""
    release_notes.main(["v0.2.0"])
    assert "### Added\n\n- A button.\n" == capsys.readouterr().out


def test_last_section_ends_with_file():
    """The section of the oldest version ends with the file."""
    assert "- All of it.\n" == release_notes.changelog_section("v0.1.0", CHANGELOG, "0.1.0")


def test_notes_name_image_by_digest(releasable, capsys):
    """The notes name the image by digest, with the command that verifies its provenance."""
    release_notes.main(["v0.2.0", "ghcr.io/owner/name@sha256:abc"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Image: `ghcr.io/owner/name@sha256:abc`.")
    assert "`gh attestation verify oci://ghcr.io/owner/name@sha256:abc --repo owner/name`" in last


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "v0.1.0", "v0.2.0-rc1", ""])
def test_tag_must_be_version_of_project(releasable, tag):
    """Another tag fails with an error that names it and the expected one."""
    with pytest.raises(SystemExit, match=rf"^'{tag}': expected v0\.2\.0, the version in pyproject\.toml$"):
        release_notes.main([tag])


@pytest.mark.parametrize("changelog", [CHANGELOG.replace("0.2.0", "0.2.1"), "## [0.2.0]\n\n## [0.1.0]\n\n- All.\n"])
def test_version_without_changelog_fails(changelog):
    """A missing or empty section fails."""
    with pytest.raises(
        SystemExit, match=r"^CHANGELOG\.md: nothing under ## \[0\.2\.0\]; expected a list of the changes$"
    ):
        release_notes.changelog_section("v0.2.0", changelog, "0.2.0")
