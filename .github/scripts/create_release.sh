#!/usr/bin/env bash
# create_release.sh v1.2.3 IMAGE_URI: create the release on GitHub, with its notes and the SBOM.
set -euo pipefail

python3 .github/scripts/release_notes.py "$1" "$2" > artifacts/release-notes.md
gh release create "$1" --verify-tag --title "$1" --notes-file artifacts/release-notes.md artifacts/sbom.cdx.json
