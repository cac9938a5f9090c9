"""Limit the number of contributions that an instance accepts within an hour."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lambda_app.errors import TooManyContributions

HOUR_S = 3600


class HourlyQuota:
    """Counts the contributions of the last hour. It needs no lock, because only one event loop uses it."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.clock = limit, clock
        self._times: deque[float] = deque()

    @contextmanager
    def reserve(self) -> Iterator[None]:
        """Count one contribution, unless the block fails. Raise `TooManyContributions` if the limit is reached."""
        now = self.clock()
        while self._times and self._times[0] <= now - HOUR_S:
            self._times.popleft()
        if len(self._times) >= self.limit:
            seconds = math.ceil(self._times[0] + HOUR_S - now)
            raise TooManyContributions(
                f"this instance accepted {self.limit} photos within an hour; try again in {seconds} s", seconds
            )
        self._times.append(now)
        try:
            yield
        except BaseException:  # includes cancellation
            self._times.remove(now)
            raise
