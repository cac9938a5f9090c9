#!/usr/bin/env bash
# on_main.sh COMMIT IMAGE_URI: check that the commit is on main, and that the URI names an image by its digest. Both come from a
# form, so they are only compared and quoted.
set -euo pipefail

refuse() {
    printf '%s=%q: expected %s\n' "$@" >&2
    exit 1
}

[[ $1 =~ ^[0-9a-f]{40}$ ]] || refuse COMMIT "$1" "all 40 digits of a commit"
[[ $2 =~ ^[a-z0-9._/:-]+@sha256:[0-9a-f]{64}$ ]] || refuse IMAGE_URI "$2" "REPOSITORY@sha256:DIGEST"
git merge-base --is-ancestor "$1" origin/main || refuse COMMIT "$1" "a commit of main"
