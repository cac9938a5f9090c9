"""What a release says of itself: its section of CHANGELOG.md and, where it has one, its image.

python -m infra.release_notes v1.2.3 [REPOSITORY@sha256:…]
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TAG = re.compile(r"v(\d+\.\d+\.\d+)")
CHANGELOG = ROOT / "CHANGELOG.md"
PYPROJECT = ROOT / "pyproject.toml"


class NotReleasable(SystemExit):
    """Tag, version and changelog do not agree; the message names what was expected."""


def notes(tag: str, changelog: str, version: str) -> str:
    """The section of the tag's version. Raises NotReleasable."""
    matched = TAG.fullmatch(tag)
    if not matched or matched[1] != version:
        raise NotReleasable(f"{tag!r}: expected v{version}, the version in pyproject.toml")
    section = re.search(rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not section or not section[1].strip():
        raise NotReleasable(f"CHANGELOG.md has nothing under ## [{version}]; expected what changed")
    return section[1].strip() + "\n"


def image(uri: str) -> str:
    """`uri` is ghcr.io/OWNER/NAME@sha256:…, as the workflow pushed it."""
    repository = uri.partition("/")[2].partition("@")[0]
    return (
        f"\nImage: `{uri}`. `gh attestation verify oci://{uri} --repo {repository}` says who built it, and from what.\n"
    )


def main(arguments: list[str]) -> None:
    tag, *uris = arguments
    version = tomllib.loads(PYPROJECT.read_text())["project"]["version"]
    print(notes(tag, CHANGELOG.read_text(), version), *map(image, uris), sep="", end="")


if __name__ == "__main__":
    main(sys.argv[1:])
