"""Reject contributions from pages of other origins, and contributions above the hourly quota of the instance."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from starlette.requests import Request

from lambda_app.errors import CrossOrigin, TooManyContributions

HOUR_S = 3600


def reject_cross_origin(request: Request) -> None:
    """Raise `CrossOrigin` if a page of another origin sent the request. Requests from other programs pass.

    As in Go's net/http.CrossOriginProtection, `Sec-Fetch-Site` decides. Browsers before 2023 do not send it, and
    none sends it over HTTP, except to localhost; then the host in `Origin` must be that of the request.
    """
    origin = request.headers.get("origin")
    if site := request.headers.get("sec-fetch-site"):
        is_own = site in {"same-origin", "none"}
    else:
        is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_own:
        raise CrossOrigin(
            "a page of another origin sent this form; send it from this server's page, or from a program other than a "
            "browser"
        )


class HourlyQuota:
    """Count the contributions of the last hour. It needs no lock, because only one event loop uses it."""

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
