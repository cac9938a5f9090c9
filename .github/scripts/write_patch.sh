#!/usr/bin/env bash
# Write all changes of the checkout to artifacts/proposal.patch, for `git apply`.
set -euo pipefail

git add --all
git diff --cached --binary --output=artifacts/proposal.patch
git reset --quiet
