"""Measure the time per photo for single and batch requests, as a client of the function URL observes it.

Lambda's runtime runs on one core, and requests of all sizes alternate. The command writes artifacts/predict_batch.json
and prints the table. It takes a minute on an idle machine.
"""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import httpx2
from tqdm import trange

from infra import ROOT
from infra.bench.hardware import cite, identify, last_core
from infra.bench.measure import quantiles
from infra.bench.photos import FIRST, first_photo
from infra.emulator.runtime import RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.serve import background, local_app
from infra.markdown import table

FIGURES = ROOT / "artifacts/predict_batch.json"
SIZES = (2, 4, 8, 16)
TURNS = 50
LIMIT = 0.8  # time per photo in a batch of 16, relative to a single request


def measure(turns: int) -> dict[str, Any]:
    """Return milliseconds per photo by batch size. Raise `RuntimeNotFound`, `RuntimeDied` or `HTTPError`."""
    source, photo = identify(), first_photo().data
    ms: dict[int, list[float]] = {size: [] for size in (1, *SIZES)}
    with (
        lambda_runtime(core=last_core()) as runtime,
        background(local_app(runtime)) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=60) as client,
    ):
        for turn in trange(turns + 1, desc="predict_batch", unit="turn"):
            for size, times in ms.items():
                elapsed = time_per_photo(client, photo, size)
                times += [elapsed] if turn else []  # the first turn warms up
    return {
        **source,
        "photo": FIRST,
        "turns": turns,
        "ms_per_photo": {str(size): quantiles(times, 50, 95) for size, times in ms.items()},
    }


def time_per_photo(client: httpx2.Client, photo: bytes, size: int) -> float:
    """Return the milliseconds of one request, divided by its number of photos."""
    path, files = ("/predict/batch" if size > 1 else "/predict"), [("file", ("photo.jpg", photo))] * size
    start = time.perf_counter()
    client.post(path, files=files).raise_for_status()
    return (time.perf_counter() - start) * 1000 / size


def render(figures: Mapping[str, Any]) -> str:
    """Return the table, and whether the largest batch is within the limit."""
    ms = figures["ms_per_photo"]
    alone = ms["1"]["p50"]
    rows = [
        (size, f"{each['p50']:.1f}", f"{each['p95']:.1f}", f"{each['p50'] / alone:.2f}") for size, each in ms.items()
    ]
    share = ms[str(SIZES[-1])]["p50"] / alone
    return (
        f"{table(('photos per request', 'p50 ms per photo', 'p95', 'relative to one'), rows)}\n\n"
        f"A photo in a batch of {SIZES[-1]} takes {share:.2f} times as long as a single request, limit {LIMIT}: "
        f"{'met' if share <= LIMIT else '**missed**'}. {figures['turns']} turns with {figures['photo']}, "
        f"{cite(figures)}"
    )


if __name__ == "__main__":
    try:
        FIGURES.write_text(json.dumps(measure(TURNS), indent=2) + "\n")
    except (RuntimeNotFound, RuntimeDied, httpx2.HTTPError) as error:
        sys.exit(f"predict_batch: {error}")
    print(render(json.loads(FIGURES.read_text())))
