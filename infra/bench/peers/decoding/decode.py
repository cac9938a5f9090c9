"""Decode one file. Print its time and memory, and the bounds that the function computes from the header of the file.

This is a program of its own, so that its memory can be measured separately.
"""

import json
import resource
import sys
from pathlib import Path

from lambda_app.errors import RequestError
from lambda_app.preprocess import preprocess_from_header, read_header

IMAGE_SIZE = 224


def cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_bytes() -> int:
    """Return the peak memory of this process since the last reset (proc(5))."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def largest_child_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def main(path: str) -> None:
    warm, data = (Path(name).read_bytes() for name in ("data/samples/cat.jpg", path))
    preprocess_from_header(read_header(warm), IMAGE_SIZE)
    Path("/proc/self/clear_refs").write_text("5")
    before, memory = cpu_seconds(), peak_bytes()
    answer: dict[str, object] = {}
    try:
        header = read_header(data)
        answer |= {"bound_s": header.seconds, "bound_mb": header.memory / 1e6}
        preprocess_from_header(header, IMAGE_SIZE)
    except RequestError as error:
        answer["refused"] = f"{error.status}: {error}"
    answer |= {"seconds": cpu_seconds() - before, "mb": (peak_bytes() - memory + largest_child_bytes()) / 1e6}
    print(json.dumps(answer))


main(sys.argv[1])
