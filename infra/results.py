"""`make results`: measures the function on this machine and writes README's results and example answer.

Times are of Lambda's own runtime behind the function-URL emulator.
"""

import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path
from typing import Any

from infra.local.demo import SAMPLE, run
from infra.local.event import predict_request
from infra.local.runtime import ROOT

METRICS = ROOT / "artifacts/metrics"
README = ROOT / "README.md"
MODEL = "lambda_app/model.onnx"
BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
STARTS = 7


def main() -> None:
    if _read("release")["sha256"] != served():
        raise SystemExit(f"{METRICS} is not about the {MODEL} that serves; expected the file of the last release")
    (METRICS / "serving.json").write_text(json.dumps(measure(), indent=2) + "\n")
    README.write_text(rendered(README.read_text()))
    print(table(), end="")


def served() -> str:
    """SHA-256 of the model file."""
    return hashlib.sha256((ROOT / MODEL).read_bytes()).hexdigest()


def rendered(readme: str) -> str:
    """README with what stands between `<!-- NAME -->` and `<!-- /NAME -->` made anew from artifacts/metrics/."""
    blocks = {"results": table, "answer": answer}
    return BLOCK.sub(lambda match: match[1] + blocks[match[2]]() + match[3], readme)


def measure() -> dict[str, Any]:
    """Medians over several starts of the function, each with its own cold and warm requests."""
    demos = [run(predict_request(SAMPLE)) for _ in range(STARTS)]
    return {
        "hardware": f"{_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "starts": STARTS,
        "cold_ms": round(statistics.median(demo.cold_s for demo in demos) * 1000),
        "warm_ms": round(statistics.median(demo.warm_s for demo in demos) * 1000, 1),
        "image_mb": _image_mb(),
        "answer": demos[0].answer,
    }


def _cpu() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def _image_mb() -> float | None:
    """Unpacked, of what `make image` built; None without a Docker engine or an image."""
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", "pet-classifier:local"]
    try:
        size = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return round(int(size) / 1e6)


def table() -> str:
    """Markdown, from the JSON under artifacts/metrics/ alone."""
    verified, serving = _read("verify"), _read("serving")
    released = verified["candidates"][verified["released"]]
    rows = [(f"accuracy, {name}", _accuracy(scores)) for name, scores in released["sets"].items()]
    unknown = {name: scores["unknown_rate"] for name, scores in released["sets"].items()}
    unknown |= {name: scores["recognised"] for name, scores in released["outliers"].items()}
    rows += [(f"called unknown, {name}", _percent(share)) for name, share in unknown.items()]
    parity = max(gate["measured"] for name, gate in verified["gates"].items() if name.startswith("probability"))
    rows.append(("largest difference of a probability, PyTorch to fp32", f"{parity:.0e}"))
    rows.append((f"model file, {verified['released']}", f"{released['size_mb']:.1f} MB"))
    rows.append(("cold: process start to first answer", f"{serving['cold_ms']} ms"))
    rows.append(("warm: request to answer", f"{serving['warm_ms']} ms"))
    if serving["image_mb"]:
        rows.append(("container image, unpacked", f"{serving['image_mb']} MB"))
    lines = ["| what | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + f"\n\nTimes: medians over {serving['starts']} starts on {serving['hardware']}.\n"


def answer() -> str:
    return f"```json\n{json.dumps(_read('serving')['answer'], indent=2)}\n```\n"


def _read(name: str) -> Any:
    return json.loads((METRICS / f"{name}.json").read_text())


def _accuracy(scores: dict[str, Any]) -> str:
    return f"{_percent(scores['accuracy'])} of {scores['photos']:,} photos"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    main()
