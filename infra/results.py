"""`make results`: writes README's tables and example answer, from what the pipeline, the benchmark and the API say."""

import hashlib
import json
from typing import Any

from infra import api_reference
from infra.bench.tables import read_bench, short
from infra.emulator.demo import SAMPLE, run
from infra.emulator.event import predict_request
from infra.emulator.runtime import ROOT
from infra.markdown import filled, table

METRICS = ROOT / "artifacts/metrics"
COVERAGE = ROOT / "artifacts/coverage.json"
README = ROOT / "README.md"
MODEL = "lambda_app/model.onnx"


def main() -> None:
    if _read("release")["sha256"] != served():
        raise SystemExit(f"{METRICS} is not about the {MODEL} that serves; expected the file of the last release")
    _write("serving", {"answer": run(predict_request(SAMPLE)).answer})
    _write("openapi", api_reference.fetch_openapi())
    render()


def render() -> None:
    """README's tables anew; nothing is measured."""
    README.write_text(rendered(README.read_text()))


def served() -> str:
    """SHA-256 of the model file."""
    return hashlib.sha256((ROOT / MODEL).read_bytes()).hexdigest()


def rendered(readme: str) -> str:
    blocks = {"results": accuracy(), "bench": short(read_bench()), "answer": answer()}
    return filled(readme, blocks | api_reference.render_tables(_read("openapi")))


def accuracy() -> str:
    """Return the table of README's first page, from the JSON under artifacts/ alone."""
    verified = _read("verify")
    released = verified["candidates"][verified["released"]]
    rows = [(f"accuracy, {name}", _accuracy(scores)) for name, scores in released["sets"].items()]
    unknown = {name: scores["unknown_rate"] for name, scores in released["sets"].items()}
    unknown |= {name: scores["recognised"] for name, scores in released["outliers"].items()}
    rows += [(f"called unknown, {name}", _percent(share)) for name, share in unknown.items()]
    parity = max(gate["measured"] for name, gate in verified["gates"].items() if name.startswith("probability"))
    rows.append(("largest difference of a probability, PyTorch to fp32", f"{parity:.0e}"))
    rows.append((f"model file, {verified['released']}", f"{released['size_mb']:.1f} MB"))
    covered = json.loads(COVERAGE.read_text())["total"]
    rows.append(("code that the tests cover, lines and branches", f"{covered:.1f} %"))
    return table(("what", "measured"), rows)


def answer() -> str:
    return f"```json\n{json.dumps(_read('serving')['answer'], indent=2)}\n```"


def _write(name: str, figures: Any) -> None:
    (METRICS / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")


def _read(name: str) -> Any:
    return json.loads((METRICS / f"{name}.json").read_text())


def _accuracy(scores: dict[str, Any]) -> str:
    return f"{_percent(scores['accuracy'])} of {scores['photos']:,} photos"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
