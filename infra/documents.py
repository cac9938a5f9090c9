"""Generated parts of README.md and lambda_app/README.md; `make docs` inserts them with cog.

`make results` runs this module: it asks the function for an answer and for its OpenAPI document, and stores both under
artifacts/metrics. The functions below read these files and the figures of the pipeline and of the benchmark.
"""

import hashlib
import json
from typing import Any

from infra import ROOT, api_reference
from infra.bench.tables import cold, dollars, read_bench, warm
from infra.emulator.demo import SAMPLE, run
from infra.emulator.event import predict_request
from infra.markdown import table, text_table
from lambda_app.settings import Settings

METRICS = ROOT / "artifacts/metrics"
EXPLANATION = ROOT / "artifacts/explanation.json"
COVERAGE = ROOT / "artifacts/coverage.json"
MODEL = "lambda_app/model.onnx"


def main() -> None:
    """Store an answer and the OpenAPI document. Raise `SystemExit` if the metrics describe another model file."""
    described, served = read_metrics("release")["sha256"], hash_served_model()
    if described != served:
        raise SystemExit(
            f"artifacts/metrics/release.json describes a file with the SHA-256 {described}; expected {served}, "
            f"that of {MODEL}. Run `git checkout artifacts/metrics` to restore the figures of the committed model, or "
            "`make promote` to serve the challenger."
        )
    _write_metrics("serving", {"answer": run(predict_request(SAMPLE)).answer})
    _write_metrics("openapi", api_reference.fetch_openapi())


def hash_served_model() -> str:
    """Return the SHA-256 digest of the released model file."""
    return hashlib.sha256((ROOT / MODEL).read_bytes()).hexdigest()


def read_metrics(name: str) -> Any:
    """Return the content of artifacts/metrics/`name`.json."""
    return json.loads((METRICS / f"{name}.json").read_text())


def results() -> str:
    """Return the table of results: quality, file size, coverage, and speed beside the peer on PyTorch."""
    return table(("measure", "result"), [*_quality(), *_speed()])


def answer() -> str:
    """Return the example answer of `POST /predict` as a fenced block of JSON."""
    return f"```json\n{json.dumps(read_metrics('serving')['answer'], indent=2)}\n```"


def settings() -> str:
    """Return the table of the function's settings."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = str(field.default).removeprefix(f"{ROOT}/")
        rows.append((f"`{name.upper()}`", f"`{default}`" if default else "", field.description or ""))
    return text_table(("variable", "default", "meaning"), rows)


def explanation_cost() -> str:
    """Return the table of the time that the activation map adds to a run of the network and to a request.

    If the figures belong to another model file, return the command that measures them instead.
    """
    figures = json.loads(EXPLANATION.read_text())
    if figures.get("sha256") != hash_served_model():
        return "Not measured for this model. Run `python -m export.experiments.explanation_cost`, then `make docs`."
    profile = figures["profile"]
    names = {
        "control": "control: a copy of the file without the map, against itself",
        "not_requested": "the released file without a request for the map, against this copy",
        "requested": "a request with `explain=1`, against a request without",
    }
    rows = [(text, f"{figures[key]['first_ms']:.2f} ms", _added(figures[key])) for key, text in names.items()]
    branch = "the branch that skips the map, as part of all nodes (ONNX Runtime's profiler)"
    rows.append((branch, f"{profile['all_ms']:.2f} ms", f"{profile['branch_ms']:.3f} ms"))
    return table(("comparison", "baseline", "added"), rows)


def _added(figures: dict[str, float]) -> str:
    return f"{figures['added_ms']:.3f} ms ({figures['low_ms']:.3f} to {figures['high_ms']:.3f})"


def api(block: str) -> str:
    """Return one block of the API reference; `infra.api_reference.render_blocks` lists the names."""
    return api_reference.render_blocks(read_metrics("openapi"))[block]


def _quality() -> list[tuple[str, str]]:
    verified = read_metrics("verify")
    released = verified["candidates"][verified["selected"]]
    labeled, outliers = released["sets"], released["outliers"]
    parity = max(gate["measured"] for name, gate in verified["gates"].items() if name.startswith("probability"))
    return [
        *((f"accuracy, {name}", _accuracy(scores)) for name, scores in labeled.items()),
        *((f"wrongly called unknown, {name}", _percent(scores["unknown_rate"])) for name, scores in labeled.items()),
        *((f"rightly called unknown, {name}", _percent(scores["unknown_rate"])) for name, scores in outliers.items()),
        ("largest difference between PyTorch's and fp32's probabilities", f"{parity:.0e}"),
        (f"model file, {verified['selected']}", f"{released['size_mb']:.1f} MB"),
        ("test coverage, lines and branches", f"{json.loads(COVERAGE.read_text())['total']:.1f} %"),
    ]


def _speed() -> list[tuple[str, str]]:
    """Return the rows on cold start, warm request, memory, image and cost, each beside the same figure on PyTorch."""
    bench, pytorch = read_bench(), "torch_simple_cnn"
    function, peer = bench["candidates"]["function"], bench["candidates"][pytorch]

    def row(name: str, value: str, baseline: str) -> tuple[str, str]:
        return name, f"{value} (PyTorch: {baseline})"

    rows = [
        row("cold start, p50", f"{cold(bench, 'function'):.0f} ms", f"{cold(bench, pytorch):,.0f} ms"),
        row("warm request, p50", f"{warm(bench, 'function'):.1f} ms", f"{warm(bench, pytorch):.1f} ms"),
        row("peak memory", f"{function['rss_mb']:.0f} MB", f"{peer['rss_mb']:,.0f} MB"),
    ]
    if function["image_mb"]:  # not measured without Docker
        rows.append(row("container image", f"{function['image_mb']:.0f} MB", f"{peer['image_mb']:,.0f} MB"))
    cost, peer_cost = dollars(bench, "function"), dollars(bench, pytorch)
    rows.append(row("cost of a million requests", f"{cost:.2f} USD", f"{peer_cost:.2f} USD"))
    return rows


def _write_metrics(name: str, figures: Any) -> None:
    (METRICS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")


def _accuracy(scores: dict[str, Any]) -> str:
    return f"{_percent(scores['accuracy'])} of {scores['photos']:,} photos"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
