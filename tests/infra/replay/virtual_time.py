"""An event loop whose clock stands still while anything can run, and jumps to the next timer when nothing can."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s. What is given to an executor runs at once, in this thread; its result comes `takes_s` later."""

    def __init__(self, takes_s: float) -> None:
        self._now, self._takes_s = 0.0, takes_s
        super().__init__(_Selector(self._advance))

    def time(self) -> float:
        return self._now

    def run_in_executor(
        self, _executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        result = func(*args)

        async def answer() -> Any:
            await asyncio.sleep(self._takes_s)
            return result

        return self.create_task(answer())

    def _advance(self, seconds: float | None) -> None:
        assert seconds is not None, "every task waits for something that no timer brings"
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    """Reports the seconds that it would have waited for, instead of waiting."""

    def __init__(self, waited: Callable[[float | None], None]) -> None:
        super().__init__()
        self._waited = waited

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout != 0:
            self._waited(timeout)
        return ready
