"""What each lever is worth: the function as it is, against itself with one thing changed, in turns.

`python -m infra.bench.levers` (about 15 idle minutes; needs Docker) writes artifacts/levers.json. Of a lever that is
kept the change takes it away, of one that was rejected it puts it in. An edit whose text is gone from the file is an
error, so the table cannot outlive the code.
"""

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from typing import Any

from tqdm import trange

from infra.bench import images
from infra.bench.candidates import MODEL, OURS, OURSELVES, Candidate
from infra.bench.hardware import commit, hardware
from infra.bench.lever_list import LEVERS, Lever
from infra.bench.measure import FIRST, Life, Repeats, measure_life
from infra.bench.photos import bench_photos
from infra.bench.sandbox import container
from infra.emulator.runtime import ROOT
from infra.markdown import table

Round = dict[str, list[Life]]  # of each lever, by name
FIGURES = ROOT / "artifacts/levers.json"
REPEATS = Repeats(first=20, others=5, health=0)
AS_IT_IS = Lever("the function as it is")
EVERY = 4  # levers for one life of the function as it is


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.levers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    measured_at = commit()  # now: what is edited meanwhile is not what runs
    levers = (AS_IT_IS, *LEVERS)
    images.build(OURSELVES)
    for lever in levers:
        make(lever)
    photos = [each for each in bench_photos() if each.name in {FIRST, "12mp"}]
    order = [AS_IT_IS] * (len(LEVERS) // EVERY + 1) + list(LEVERS)
    found: list[Round] = []
    for turn in trange(rounds, desc="levers", unit="round"):
        lives: Round = {lever.name: [] for lever in levers}
        for lever in random.Random(turn).sample(order, len(order)):
            lives[lever.name].append(measure_life(candidate(lever), container, photos, REPEATS))
        found.append(lives)
    FIGURES.write_text(json.dumps(figures(found) | {"commit": measured_at}, indent=2) + "\n")
    print(render(json.loads(FIGURES.read_text())))


def candidate(lever: Lever) -> Candidate:
    """Our image with an own copy of `lambda_app`."""
    files = {"lambda_app": ROOT / "lambda_app", "lambda_app/model.onnx": MODEL}
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
    images.compile_task(changed)


def figures(rounds: Sequence[Round]) -> dict[str, Any]:
    effects = {lever.name: effect(lever.name, rounds) | {"kept": lever.kept} for lever in LEVERS}
    return {"hardware": hardware(docker=True), "rounds": len(rounds), "levers": effects}


def effect(name: str, rounds: Sequence[Round]) -> dict[str, list[float]]:
    """Quartiles over the rounds of the difference to the function as it is, whose lives are spread over each round."""
    pairs = [(single(lives[name]), single(lives[AS_IT_IS.name])) for lives in rounds]
    shares = {key: [a[key] / b[key] - 1 for a, b in pairs] for key in ("cold", "warm", "12mp")}
    return {
        key: statistics.quantiles(values, n=4)
        for key, values in (shares | {"rss_mb": [a["rss_mb"] - b["rss_mb"] for a, b in pairs]}).items()
    }


def single(lives: Sequence[Life]) -> dict[str, float]:
    """Medians of one round."""
    return {
        "cold": statistics.median(life.cold_ms for life in lives),
        "warm": statistics.median(ms for life in lives for ms in life.warm_ms[FIRST]),
        "12mp": statistics.median(ms for life in lives for ms in life.warm_ms["12mp"]),
        "rss_mb": statistics.median(life.rss_mb for life in lives),
    }


def render(found: dict[str, Any]) -> str:
    rows = []
    for name, quartiles in found["levers"].items():
        shares = (_range([100 * share for share in quartiles[key]], " %") for key in ("cold", "warm", "12mp"))
        rows.append((name, "kept" if quartiles["kept"] else "rejected", *shares, _range(quartiles["rss_mb"], " MB")))
    headings = ("the function, but …", "lever", "cold", "warm", "12 MP", "peak RSS")
    note = f"Median and quartiles of {found['rounds']} rounds; {found['hardware']}; commit `{found['commit']}`."
    return f"{table(headings, rows)}\n\n{note}"


def _range(quartiles: Sequence[float], unit: str) -> str:
    low, middle, high = quartiles
    return f"{middle:+.1f}{unit} ({low:+.1f} to {high:+.1f})"


if __name__ == "__main__":
    main()
