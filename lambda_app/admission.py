"""Reserve memory before a photo is decoded, and limit how long a request waits. On Lambda, no request waits."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Condition
from typing import Any

from starlette.requests import ClientDisconnect

from lambda_app.errors import Overloaded

MEMORY = 500_000_000  # bytes that all decoding together may hold: the largest photo, or ten JPEGs of 12 megapixels
PATIENCE_S = 5.0  # for a thread, and for memory; after it, the client gets a 503 and can retry
STUCK_S = 15.0  # from arrival to answer: both waits, and the 2 s that decoding may take
IsDisconnected = Callable[[], Coroutine[Any, Any, bool]]  # asks the server whether the client has left


@dataclass(frozen=True)
class Turn:
    """A request that waits for a thread."""

    arrived: float
    is_behind: bool  # as many requests as there are threads came before it
    is_disconnected: IsDisconnected | None  # None where the server cannot tell
    loop: asyncio.AbstractEventLoop

    def check(self) -> None:
        """Raise `Overloaded` or `ClientDisconnect` if the answer would come too late. Called on the thread."""
        if not self.is_behind:
            return
        waited = time.monotonic() - self.arrived
        if waited > PATIENCE_S:
            raise Overloaded(f"the photo waited {waited:.1f} s for others; at most {PATIENCE_S:.0f} s: try again later")
        if self.is_disconnected and asyncio.run_coroutine_threadsafe(self.is_disconnected(), self.loop).result():
            raise ClientDisconnect


class Admission:
    """The requests under way, and the memory that their photos may take."""

    def __init__(self, threads: int, memory: int = MEMORY) -> None:
        self.threads, self.memory = threads, memory
        self._free = memory
        self._tickets: deque[object] = deque()  # of those that wait for memory, in order
        self._changed = Condition()
        self._numbers = count()
        self._arrivals: dict[int, float] = {}  # in order

    @contextmanager
    def queue(self, is_disconnected: IsDisconnected | None) -> Iterator[Turn]:
        """Count a request as under way. Called on the event loop."""
        number, arrived = next(self._numbers), time.monotonic()
        is_behind = len(self._arrivals) >= self.threads
        self._arrivals[number] = arrived
        try:
            yield Turn(arrived, is_behind, is_disconnected, asyncio.get_running_loop())
        finally:
            del self._arrivals[number]

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Block the calling thread until `size` bytes, capped at the total, are free. Requests are served in order.

        Raise `Overloaded` after `PATIENCE_S`.
        """
        size, ticket = min(size, self.memory), object()
        with self._changed:
            self._tickets.append(ticket)
            is_free = self._changed.wait_for(lambda: self._tickets[0] is ticket and self._free >= size, PATIENCE_S)
            self._tickets.remove(ticket)
            self._free -= size if is_free else 0
            self._changed.notify_all()  # the next one may fit, too
        if not is_free:
            raise Overloaded(f"the photo waited {PATIENCE_S:.0f} s for {size} bytes of memory; try again later")
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()

    def is_stuck(self) -> bool:
        """Return whether the oldest request under way has waited for its answer longer than any should."""
        oldest = next(iter(self._arrivals.values()), None)
        return oldest is not None and time.monotonic() - oldest > STUCK_S
