"""What each lever is worth: the function as it is, against itself with one thing changed, in turns.

`python -m infra.bench.levers` (about 15 idle minutes) writes artifacts/levers.json. Of a lever that is kept the change
takes it away, of one that was rejected it puts it in. An edit whose text is no longer in the file is an error, so the
table cannot outlive the code.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from typing import Any

from tqdm import trange

from infra.bench import images
from infra.bench.candidates import OURS, Candidate
from infra.bench.hardware import commit, hardware
from infra.bench.lever_list import LEVERS, Lever
from infra.bench.measure import FIRST, Life, Repeats, live
from infra.bench.photos import bench_photos
from infra.bench.sandbox import container
from infra.local.runtime import ROOT
from infra.markdown import table

FIGURES = ROOT / "artifacts/levers.json"
REPEATS = Repeats(first=20, others=5, health=0)
AS_IT_IS = Lever("the function as it is")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.levers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    measured_at = commit()  # now: what is edited meanwhile is not what runs
    levers = (AS_IT_IS, *LEVERS)
    for lever in levers:
        make(lever)
    photos = [each for each in bench_photos() if each.name in {FIRST, "12mp"}]
    lives: dict[str, list[Life]] = {lever.name: [] for lever in levers}
    for turn in trange(rounds, desc="levers", unit="round"):
        for lever in (*levers[turn % len(levers) :], *levers[: turn % len(levers)]):
            lives[lever.name].append(live(candidate(lever), container, photos, REPEATS))
    FIGURES.write_text(json.dumps(figures(lives) | {"commit": measured_at}, indent=2) + "\n")
    print(render(json.loads(FIGURES.read_text())))


def candidate(lever: Lever) -> Candidate:
    """Our image with an own copy of `lambda_app`."""
    files = {"lambda_app": ROOT / "lambda_app", "lambda_app/model.onnx": ROOT / "lambda_app/model.onnx"}
    name = f"lever_{(AS_IT_IS, *LEVERS).index(lever)}"
    return Candidate(name, "lambda_app.handler.handler", OURS, files, env=lever.env, flags=lever.flags)


def make(lever: Lever) -> None:
    """Stage, edit, compile. Raises SystemExit where an edit does not fit the code."""
    changed = candidate(lever)
    images.stage(changed)
    for file, old, new in lever.edits:
        path = changed.task / "lambda_app" / file
        text = path.read_text()
        if text.count(old) != 1:
            raise SystemExit(f"{lever.name!r}: {file} has {text.count(old)} times {old!r}; expected it once")
        path.write_text(text.replace(old, new))
    images.build(changed)


def figures(lives: dict[str, list[Life]]) -> dict[str, Any]:
    """The difference to the function as it is, round by round, so that a slow minute cancels out."""
    base = lives[AS_IT_IS.name]
    kept = {lever.name: lever.kept for lever in LEVERS}
    rows = {name: row(found, base) | {"kept": kept.get(name)} for name, found in lives.items()}
    return {"hardware": hardware(docker=True), "rounds": len(base), "levers": rows}


def row(lives: Sequence[Life], base: Sequence[Life]) -> dict[str, float]:
    def warm(life: Life, photo: str) -> float:
        return statistics.median(life.warm_ms[photo])

    pairs = list(zip(lives, base, strict=True))
    return {
        "cold_ms": statistics.median(life.cold_ms for life in lives),
        "cold": statistics.median(a.cold_ms / b.cold_ms - 1 for a, b in pairs),
        "warm": statistics.median(warm(a, FIRST) / warm(b, FIRST) - 1 for a, b in pairs),
        "12mp": statistics.median(warm(a, "12mp") / warm(b, "12mp") - 1 for a, b in pairs),
        "rss_mb": statistics.median(a.rss_mb - b.rss_mb for a, b in pairs),
    }


def render(found: dict[str, Any]) -> str:
    rows = []
    for name, effect in found["levers"].items():
        if effect["kept"] is None:
            continue
        shares = (f"{100 * effect[key]:+.1f} %" for key in ("cold", "warm", "12mp"))
        rows.append((name, "kept" if effect["kept"] else "rejected", *shares, f"{effect['rss_mb']:+.0f} MB"))
    headings = ("the function, but …", "lever", "cold", "warm", "12 MP", "peak RSS")
    note = f"Medians of {found['rounds']} rounds, each against the function as it is; {found['hardware']}."
    return f"{table(headings, rows)}\n\n{note}"


if __name__ == "__main__":
    main()
