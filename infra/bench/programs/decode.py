"""Decode one file. Print its time and memory, and the bounds that the function computes from the header of the file.

It runs as a separate process, so that its memory can be measured separately.
"""

import json
import resource
import sys
from pathlib import Path

from infra.bench.hardware import read_peak_mb
from lambda_app.errors import RequestError
from lambda_app.preprocess import preprocess_from_header, read_header

IMAGE_SIZE = 224


def cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def largest_child_mb() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def main(path: str) -> None:
    warm, data = (Path(name).read_bytes() for name in ("data/samples/cat.jpg", path))
    preprocess_from_header(read_header(warm), IMAGE_SIZE)
    Path("/proc/self/clear_refs").write_text("5")
    before, memory = cpu_seconds(), read_peak_mb("self")
    answer: dict[str, object] = {}
    try:
        header = read_header(data)
        answer |= {"bound_s": header.seconds, "bound_mb": header.memory / 1e6}
        preprocess_from_header(header, IMAGE_SIZE)
    except RequestError as error:
        answer["refused"] = f"{error.status}: {error}"
    answer |= {"seconds": cpu_seconds() - before, "mb": read_peak_mb("self") - memory + largest_child_mb()}
    print(json.dumps(answer))


main(sys.argv[1])
