"""Reserve memory before a photo is decoded, and limit how long a request waits. On Lambda, no request waits."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Any

from starlette.requests import ClientDisconnect

from lambda_app.errors import Overloaded
from lambda_app.preprocess import MAX_MEMORY

MAX_WAIT_S = 5.0  # limit on a request's wait for a thread and, separately, for memory; after it, respond with 503
STUCK_S = 20.0  # exceeds two waits of `MAX_WAIT_S`, a decoding budget of 5 s and 2 s for its last photo
IsDisconnected = Callable[[], Coroutine[Any, Any, bool]]


@dataclass(frozen=True)
class Turn:
    """The place of a request in the queue for a thread."""

    arrived: float
    is_queued: bool  # the request arrived while all threads were busy
    is_disconnected: IsDisconnected | None  # None if the server cannot detect a disconnect
    loop: asyncio.AbstractEventLoop

    def check(self) -> None:
        """Raise `Overloaded` after too long a wait, and `ClientDisconnect` if the client has left.

        Call it on a worker thread.
        """
        if not self.is_queued:
            return
        waited = time.monotonic() - self.arrived
        if waited > MAX_WAIT_S:
            raise Overloaded(
                f"the photo waited {waited:.1f} s for a free thread; the limit is {MAX_WAIT_S:.0f} s: try again later"
            )
        if self.is_disconnected and asyncio.run_coroutine_threadsafe(self.is_disconnected(), self.loop).result():
            raise ClientDisconnect


class Admission:
    """The requests in progress, and the memory that remains for their photos."""

    # The memory is for all concurrent decoding: the largest photo, or ten JPEGs of 12 megapixels.
    def __init__(self, threads: int, memory: int = MAX_MEMORY) -> None:
        self.threads, self.memory = threads, memory
        self._free = memory
        self._tickets: deque[object] = deque()  # of the threads that wait for memory, in order of arrival
        self._changed = Condition()
        self._arrivals: dict[object, float] = {}  # in order of arrival

    @contextmanager
    def queue(self, is_disconnected: IsDisconnected | None) -> Iterator[Turn]:
        """Count a request as in progress. Call it on the event loop."""
        request, arrived = object(), time.monotonic()
        is_queued = len(self._arrivals) >= self.threads
        self._arrivals[request] = arrived
        try:
            yield Turn(arrived, is_queued, is_disconnected, asyncio.get_running_loop())
        finally:
            del self._arrivals[request]

    @contextmanager
    def reserve(self, size: int, waited: float = 0.0) -> Iterator[None]:
        """Block the calling thread until `size` bytes, capped at the total, are free. Serve requests in order.

        `waited` is how many seconds earlier photos of the request have waited for memory. Raise `Overloaded` when all
        its photos together have waited for `MAX_WAIT_S`.
        """
        size, ticket = min(size, self.memory), object()
        with self._changed:
            self._tickets.append(ticket)
            timeout = max(MAX_WAIT_S - waited, 0)
            is_free = self._changed.wait_for(lambda: self._tickets[0] is ticket and self._free >= size, timeout)
            self._tickets.remove(ticket)
            self._free -= size if is_free else 0
            self._changed.notify_all()  # the next request may fit as well
        if not is_free:
            raise Overloaded(f"the request waited {MAX_WAIT_S:.0f} s for {size} bytes of memory; try again later")
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()

    def is_stuck(self) -> bool:
        """Return whether the oldest request in progress arrived more than `STUCK_S` ago."""
        oldest = next(iter(self._arrivals.values()), None)
        return oldest is not None and time.monotonic() - oldest > STUCK_S
