"""When a photo may be decoded: memory is reserved before, and nothing waits for long. On Lambda, nothing waits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Condition

from starlette.requests import ClientDisconnect

from lambda_app.errors import Overloaded

MEMORY = 500_000_000  # bytes that all decoding together may hold: one photo of the largest, or hundreds of a camera's
PATIENCE_S = 5.0  # in the queue; a client that gets a 503 by then retries, and one that waits longer has often left
STUCK_S = 15.0  # from arrival to answer; two seconds of decoding behind five of waiting are no reason for alarm
HUNG_UP_S = 0.01  # for the server to say whether the client has left


@dataclass(frozen=True)
class Turn:
    """A request that waits for a thread."""

    arrived: float
    is_behind: bool  # as many requests as there are threads came before it
    has_hung_up: Callable[[], Awaitable[bool]] | None  # None where the server cannot tell
    loop: asyncio.AbstractEventLoop

    def check(self) -> None:
        """Raise `Overloaded` or `ClientDisconnect` if the answer would come too late. Called on the thread."""
        if not self.is_behind:
            return
        waited = time.monotonic() - self.arrived
        if waited > PATIENCE_S:
            raise Overloaded(f"the photo waited {waited:.1f} s for others; at most {PATIENCE_S:.0f} s: try again later")
        if self.has_hung_up and asyncio.run_coroutine_threadsafe(_as_coroutine(self.has_hung_up), self.loop).result():
            raise ClientDisconnect


class Admission:
    """The requests under way, and the memory that their photos may take."""

    def __init__(self, threads: int, memory: int = MEMORY) -> None:
        self.threads, self.memory = threads, memory
        self._free = memory
        self._changed = Condition()
        self._numbers = count()
        self._arrivals: dict[int, float] = {}  # in order

    @contextmanager
    def queue(self, has_hung_up: Callable[[], Awaitable[bool]] | None) -> Iterator[Turn]:
        """Count a request as under way. Called on the event loop."""
        number, arrived = next(self._numbers), time.monotonic()
        is_behind = len(self._arrivals) >= self.threads
        self._arrivals[number] = arrived
        try:
            yield Turn(arrived, is_behind, has_hung_up, asyncio.get_running_loop())
        finally:
            del self._arrivals[number]

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, at most all. Called on a thread, which another one's photo holds up."""
        size = min(size, self.memory)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
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


async def _as_coroutine(function: Callable[[], Awaitable[bool]]) -> bool:
    return await function()
