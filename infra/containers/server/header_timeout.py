"""Close connections whose request headers do not arrive in time. uvicorn has no such timeout.

Without it, a client that sends its headers byte by byte holds a connection forever (a Slowloris attack). In the
server's image, this module is beside uvicorn: `uvicorn --http header_timeout:HeaderTimeoutProtocol`.
"""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_S = 20.0  # from the connection, or from the first byte of a later request, to the end of its headers


class HeaderTimeoutProtocol(H11Protocol):
    """HTTP/1.1 with a limit on the time that request headers may take. Idle connections have uvicorn's own timeout."""

    _headers_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self._headers_timer = self.loop.call_later(HEADERS_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:  # the headers are complete
            self._stop_timer()
        elif self._headers_timer is None:
            self._headers_timer = self.loop.call_later(HEADERS_S, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._headers_timer is not None:
            self._headers_timer.cancel()
            self._headers_timer = None
