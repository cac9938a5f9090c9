"""Run the commands of infra.replay, and write photos for them."""

import json
from pathlib import Path

from infra.replay import __main__ as replay
from infra.replay import post_deploy_evaluation
from tests.support.waiting import DEADLINE_S

MAX_BYTES = 20_000


def write_photo(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def collect(url: str, photos: Path, journal: Path, *options: str) -> int:
    return replay.main([url, str(photos), "--output", str(journal), "--timeout", str(DEADLINE_S), *options])


def run_evaluation(journal: Path, *options: str) -> tuple[int, dict]:
    output = journal.with_suffix(".json")
    code = post_deploy_evaluation.main([str(journal), "--json", str(output), *options])
    return code, json.loads(output.read_text())
