"""How far a job of infra/score has come: a file beside its output."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from infra.score.queue import PER_MESSAGE


class Unfinished(Exception):
    """Some photos have neither a result nor a reason; the message says how many, or what is in the way."""


@dataclass
class Progress:
    """Of these photos, through this queue, to these results."""

    source: str
    queue: str
    results: str
    job: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}")  # the folder of its results
    photos: int = 0
    last: str = ""  # key
    complete: bool = False
    more: int = 0  # messages that photos of dead letters became beyond these letters

    @property
    def messages(self) -> int:
        """So many objects of results there will be."""
        return -(-self.photos // PER_MESSAGE) + self.more

    @classmethod
    def read(cls, path: Path, source: str, queue: str, results: str) -> "Progress":
        """Raises Unfinished where it is about something else."""
        wanted = cls(source, queue, results)
        if not path.exists():
            return wanted
        try:
            found = cls(**json.loads(path.read_text()))
        except (ValueError, TypeError):
            raise Unfinished(f"{path}: expected what an earlier call wrote; without it the job begins again") from None
        for name in ("source", "queue", "results"):
            there, given = getattr(found, name), getattr(wanted, name)
            if there != given:
                raise Unfinished(f"{path} is about the {name} {there}; expected {given}, or another output")
        return found

    def write(self, path: Path) -> None:
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text(json.dumps(asdict(self)))
        partial.replace(path)
