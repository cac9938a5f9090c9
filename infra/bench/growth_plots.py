"""Plot artifacts/growth.json: latency on the left axes, memory on the right axes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

TIME, MEMORY = "tab:blue", "tab:red"


def plot(figures: Mapping[str, Any], path: Path, settled: int, limit: float) -> None:
    """Write a PNG with panels by photo size, batch size and requests. Equal figures give equal bytes.

    Growth counts from `settled` requests on; memory may reach `limit` times its value there.
    """
    figure, (sizes, batches, requests) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)  # separates the adjacent labels of two panels
    _photo_size(sizes, figures["photo_size"])
    _batch(batches, figures["batch"])
    _requests(requests, figures["requests"], settled, limit)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})  # the version of Matplotlib would change the bytes
    plt.close(figure)


def _photo_size(axis: plt.Axes, found: Sequence[Mapping[str, Any]]) -> None:
    megapixels = [f["megapixels"] for f in found]
    axis.plot(megapixels, [f["ms"]["p95"] for f in found], ":", color=TIME, label="p95")
    axis.plot(megapixels, [f["ms"]["p50"] for f in found], "o-", color=TIME, label="p50")
    axis.set(title="by photo size", xlabel="photo, megapixels", xlim=(0, None), ylim=(0, None))
    axis.set_ylabel("warm request, ms", color=TIME)
    axis.legend(loc="lower right")
    _memory(axis, megapixels, found)


def _batch(axis: plt.Axes, found: Sequence[Mapping[str, Any]]) -> None:
    photos = [f["photos"] for f in found]
    axis.plot(photos, [f["ms_per_photo"] for f in found], "o-", color=TIME)
    axis.set(title="by batch size", xlabel="photos per run", xlim=(0, None), ylim=(0, None))
    axis.set_ylabel("network, ms per photo", color=TIME)
    _memory(axis, photos, found)


def _memory(axis: plt.Axes, x: Sequence[float], found: Sequence[Mapping[str, Any]]) -> None:
    axis.grid(alpha=0.3)
    right = axis.twinx()
    right.plot(x, [f["rss_mb"] for f in found], "s--", color=MEMORY)
    right.set(ylim=(0, 1.1 * max(f["rss_mb"] for f in found)))
    right.set_ylabel("peak RSS, MB", color=MEMORY)


def _requests(axis: plt.Axes, found: Mapping[str, Any], settled: int, limit: float) -> None:
    n, rss_mb = zip(*found["rss_mb"], strict=True)
    value, label = found[f"after_{settled}"], f"within {100 * (limit - 1):.0f} % of RSS after {settled}"
    axis.axhspan((2 - limit) * value, limit * value, color="gray", alpha=0.15, label=label)
    axis.plot(n, rss_mb, color=MEMORY)
    axis.set(title="by consecutive requests", xlabel="requests", ylim=(0, 1.3 * max(rss_mb)))
    axis.set_ylabel("RSS, MB", color=MEMORY)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
