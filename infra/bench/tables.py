"""Markdown tables of infra/bench/RESULTS.md from artifacts/bench.json: summary, candidates, goals and costs."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra import ROOT
from infra.bench.hardware import cite
from infra.bench.photos import FIRST
from infra.markdown import table

BENCH = ROOT / "artifacts/bench.json"
LABELS = {
    "function": "**this function**",
    "torch_simple_cnn": "small CNN with PyTorch and torchvision (1)",
    "torch_same_model": "this function, PyTorch instead of ONNX Runtime (1)",
    "ort_plain": "ONNX Runtime, as in tutorials (2)",
    "floor_imports": "floor: imports only, as pip installs them",
    "floor_decode_infer": "floor: decode, resize, run the model",
}
IMPORTS_ONLY = "floor_imports"  # this candidate decodes no photo
HEADINGS = ("", "cold ms", "warm ms", "p99", "12 MP ms", "peak MB", "image MB", "USD per million")
NOTES = "(1) With the wheels of PyPI, which contain CUDA. (2) Without bytecode."
Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    name: str
    value: Callable[[Figures], float | None]  # computed from bench.json; None if not measured
    limit: float
    unit: str = "x"


def cold(figures: Figures, name: str) -> float:
    return float(figures["candidates"][name]["cold_ms"]["p50"])


def warm(figures: Figures, name: str, photo: str = FIRST, quantile: str = "p50") -> float:
    return float(figures["candidates"][name]["warm_ms"][photo][quantile])


def throughput_ratio(figures: Figures) -> float | None:
    """Return the throughput of the faster of LitServe and BentoML as a multiple of uvicorn's; None if not measured."""
    if not figures["throughput"]:
        return None
    speeds = figures["throughput"]["requests_per_second"]
    return float(max(speeds["litserve"], speeds["bentoml"]) / speeds["uvicorn"])


def megabytes_read(figures: Figures) -> float | None:
    """Return the megabytes that a cold start of this function reads from an empty page cache; None if not measured."""
    return float(figures["from_disk"]["function"]["read_mb"]) if figures["from_disk"] else None


def dollars(figures: Figures, name: str) -> float:
    return float(figures["candidates"][name]["usd_per_million"])


GOALS = (
    Goal(
        "cold start, relative to the small CNN with PyTorch",
        lambda f: cold(f, "function") / cold(f, "torch_simple_cnn"),
        0.11,
    ),
    Goal("cold start, relative to plain ONNX Runtime", lambda f: cold(f, "function") / cold(f, "ort_plain"), 0.3),
    Goal("cold start, relative to imports only", lambda f: cold(f, "function") / cold(f, "floor_imports"), 0.8),
    Goal(
        "warm, relative to the small CNN with PyTorch",
        lambda f: warm(f, "function") / warm(f, "torch_simple_cnn"),
        1 / 5,
    ),
    Goal("warm, relative to decode, resize, run", lambda f: warm(f, "function") / warm(f, "floor_decode_infer"), 1.3),
    Goal(
        "warm at 12 MP, relative to plain ONNX Runtime",
        lambda f: warm(f, "function", "12mp") / warm(f, "ort_plain", "12mp"),
        1 / 3,
    ),
    Goal("warm p99, relative to p50", lambda f: warm(f, "function", quantile="p99") / warm(f, "function"), 2),
    Goal("peak RSS", lambda f: float(f["candidates"]["function"]["rss_mb"]), 125, "MB"),
    Goal("image, unpacked", lambda f: f["candidates"]["function"]["image_mb"], 150, "MB"),
    Goal("image, compressed", lambda f: (f["compressed_mb"] or {}).get("function"), 52, "MB"),
    Goal("read from disk at a cold start", megabytes_read, 85, "MB"),
    Goal("throughput of the faster of LitServe and BentoML, relative to uvicorn", throughput_ratio, 1),
    Goal(
        "cost, relative to the small CNN with PyTorch",
        lambda f: dollars(f, "function") / dollars(f, "torch_simple_cnn"),
        1 / 5,
    ),
)


def read_bench() -> Figures:
    """Return artifacts/bench.json. Raise `FileNotFoundError` before the first `make bench`."""
    figures: Figures = json.loads(BENCH.read_text())
    return figures


def render_short(figures: Figures) -> str:
    """Return the summary: one row per candidate with its most important figures."""
    rows = [_row(name, figures["candidates"][name]) for name in LABELS if name in figures["candidates"]]
    return f"{table(HEADINGS, rows)}\n\n{describe_measurement(figures)} {NOTES}"


def describe_measurement(figures: Figures) -> str:
    """Return a sentence on starts, machine and commit of the measurement."""
    starts = figures["candidates"]["function"]["cold_ms"]["n"]
    return f"Medians of {starts} interleaved starts each, {cite(figures)}"


def _row(name: str, candidate: Figures) -> tuple[str, ...]:
    warm_ms = candidate["warm_ms"]
    decodes = name != IMPORTS_ONLY
    return (
        LABELS[name],
        f"{candidate['cold_ms']['p50']:.0f}",
        f"{warm_ms[FIRST]['p50']:.1f}" if decodes else "",
        f"{warm_ms[FIRST]['p99']:.1f}" if decodes else "",
        f"{warm_ms['12mp']['p50']:.0f}" if decodes else "",
        f"{candidate['rss_mb']:.0f}",
        f"{candidate['image_mb']:,.0f}" if candidate["image_mb"] else "–",  # noqa: RUF001  # a dash marks a missing figure
        f"{candidate['usd_per_million']:.2f}" if decodes else "",
    )


def render_full(figures: Figures) -> str:
    """Return the tables of all candidates and photos, of cold starts with a dropped page cache, and of throughput."""
    parts = [_candidate_table(figures), "Milliseconds. " + describe_measurement(figures)]
    if found := figures["compressed_mb"]:
        sizes = ", ".join(f"`{name}` {mb:.0f} MB" for name, mb in found.items())
        parts.append(f"Compressed images, as in a registry: {sizes}.")
    if found := figures["from_disk"]:
        disk = [(f"`{n}`", f"{v['cold_ms']:.0f}", f"{v['read_mb']:.0f}") for n, v in found.items()]
        parts.append(table(("page cache dropped", "cold ms", "MB read"), disk))
    if found := figures["throughput"]:
        speeds = [(f"`{name}`", f"{value:.0f}") for name, value in found["requests_per_second"].items()]
        parts.append(table((f"two cores, {FIRST}", "requests per second"), speeds))
    return "\n\n".join(parts)


def _candidate_table(figures: Figures) -> str:
    starts, photos = {"cold": "cold_ms", "init": "init_ms", "first": "first_ms"}, list(figures["photos"])
    headings = (
        "",
        *(f"{name} p50 / p95" for name in starts),
        *(f"{name} p50 / p99" for name in photos),
        "/health p50",
        "billed",
    )
    rows = []
    for name, candidate in figures["candidates"].items():
        decodes = name != IMPORTS_ONLY
        warm_ms = [candidate["warm_ms"][photo] for photo in photos]
        rows.append((
            f"`{name}`",
            *(f"{candidate[key]['p50']:.0f} / {candidate[key]['p95']:.0f}" for key in starts.values()),
            *(f"{ms['p50']:.1f} / {ms['p99']:.1f}" if decodes else "" for ms in warm_ms),
            f"{candidate['health_ms']['p50']:.1f}" if candidate["health_ms"] else "",
            f"{candidate['billed_ms']:.0f}" if decodes else "",
        ))  # fmt: skip
    return table(headings, rows)


def render_goals(figures: Figures) -> str:
    """Return the table of goals that were measured, each met or missed."""
    rows = []
    for goal in GOALS:
        value = goal.value(figures)
        if value is not None:
            verdict = "met" if value <= goal.limit else "**missed**"
            rows.append((goal.name, f"{value:.3g} {goal.unit}", f"≤ {goal.limit:.3g} {goal.unit}", verdict))
    return table(("goal", "measured", "limit", ""), rows)


def render_costs(figures: Figures) -> str:
    """Return the costs by memory size, and the cheapest size for each target of latency."""
    parts = []
    for name, sizes in figures["cost"].items():
        x86, arm = sizes["x86_64"], sizes["arm64"]
        arm64 = [size["usd_per_million"] for size in arm["by_memory"]]
        rows = [
            (f"{a['memory_mb']}", f"{a['ms']:.1f}", f"{a['billed_ms']}", f"{a['usd_per_million']:.2f}", f"{usd:.2f}")
            for a, usd in zip(x86["by_memory"], arm64, strict=True)
        ]
        parts.append(table((f"`{name}`, MB", "warm ms", "billed ms", "x86 USD per million", "arm64"), rows))
        under = ", ".join(
            f"{size} MB under {target}" if size else f"none under {target}" for target, size in x86["cheapest"].items()
        )
        parts.append(f"Cheapest on x86: {under}.")
    return "\n\n".join(parts)
