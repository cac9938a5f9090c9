"""Provide an event loop whose virtual clock advances to the next timer whenever no task can run."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock starts at 0 s. Executor calls run at once in this thread, and complete after `takes_s`."""

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
        assert seconds is not None, "deadlock: no task can run and no timer is pending"
        self._now += seconds


class _Selector(selectors.DefaultSelector):
    """A selector that reports its timeout instead of waiting."""

    def __init__(self, waited: Callable[[float | None], None]) -> None:
        super().__init__()
        self._waited = waited

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready and timeout != 0:
            self._waited(timeout)
        return ready
