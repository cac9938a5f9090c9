"""Print a release's notes: its section of CHANGELOG.md and, if given, its image.

    python .github/scripts/release_notes.py v1.2.3 [REPOSITORY@sha256:…]

Exits with 1 if the tag is not the version in pyproject.toml, or if CHANGELOG.md does not describe that version.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHANGELOG = ROOT / "CHANGELOG.md"
PYPROJECT = ROOT / "pyproject.toml"


def changelog_section(tag: str, changelog: str, version: str) -> str:
    """Return the section of the tag's version. Raise `SystemExit` if the tag is not `version`, or has no section."""
    if tag != f"v{version}":
        raise SystemExit(f"{tag!r}: expected v{version}, the version in pyproject.toml")
    section = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not section or not section[1].strip():
        raise SystemExit(f"CHANGELOG.md: nothing under ## [{version}]; expected a list of the changes")
    return section[1].strip() + "\n"


def describe_image(uri: str) -> str:
    """Return a paragraph that names the image, `ghcr.io/OWNER/NAME@sha256:…`, and how to verify its provenance."""
    repository = uri.partition("/")[2].partition("@")[0]
    return f"\nImage: `{uri}`. To verify its provenance: `gh attestation verify oci://{uri} --repo {repository}`.\n"


def main(arguments: list[str]) -> None:
    tag, *uris = arguments
    version = tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    print(changelog_section(tag, CHANGELOG.read_text(), version), *map(describe_image, uris), sep="", end="")


if __name__ == "__main__":
    main(sys.argv[1:])
