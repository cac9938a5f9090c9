#!/usr/bin/env bash
# Start the workflow Retrain, unless it ran in the last seven days, the period of a report.
set -euo pipefail

runs=$(gh run list --workflow retrain.yml --created ">=$(date -u -d '7 days ago' +%F)" --json databaseId --jq '.[]')
[[ -n $runs ]] || gh workflow run retrain.yml --ref main
