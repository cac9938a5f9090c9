"""Test the limit on the time of request headers, on an event loop whose clock is virtual."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from infra.containers.server.header_timeout import HEADERS_S, HeaderTimeoutProtocol
from tests.support.virtual_time import VirtualTimeLoop

REQUEST = b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n"
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def echo(_scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body of the request."""
    body = b""
    while len(body) < 5:
        body += (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": body})


def converse(client: Client) -> None:
    """Run a client against the protocol, connected by a pair of sockets."""

    async def connect() -> None:
        config = uvicorn.Config(echo, ws="none", lifespan="off", log_config=None, timeout_keep_alive=75)
        config.load()
        client_end, server_end = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: HeaderTimeoutProtocol(config, ServerState(), {}), server_end
        )
        reader, writer = await asyncio.open_connection(sock=client_end)
        await client(reader, writer)
        writer.close()

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(0)) as runner:
        runner.run(connect())


def now() -> float:
    return asyncio.get_running_loop().time()


async def answered(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(5)


@pytest.mark.parametrize("sent", [b"", REQUEST[:1], REQUEST[:-1]])
def test_incomplete_headers_close_the_connection(sent: bytes) -> None:
    """A client that never completes its headers is disconnected after `HEADERS_S`."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        assert b"" == await reader.read()
        assert pytest.approx(HEADERS_S) == now()

    converse(client)


def test_single_bytes_do_not_extend_the_timeout() -> None:
    """A client that sends a byte a second has as much time as any other client."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in REQUEST[: int(HEADERS_S) - 1]:
            writer.write(bytes([byte]))
            await asyncio.sleep(1)
        assert b"" == await reader.read()
        assert pytest.approx(HEADERS_S) == now()

    converse(client)


def test_complete_headers_end_the_timeout() -> None:
    """After complete headers, the body may take longer than `HEADERS_S`; the application limits its time."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REQUEST)
        await asyncio.sleep(2 * HEADERS_S)
        writer.write(b"photo")
        assert b"photo" == await answered(reader)

    converse(client)


def test_later_requests_of_a_connection_have_the_same_timeout() -> None:
    """After an answer, the connection may be idle for longer; the next request's headers may not take longer."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REQUEST + b"photo")
        assert b"photo" == await answered(reader)
        await asyncio.sleep(2 * HEADERS_S)
        writer.write(REQUEST + b"again")
        assert b"again" == await answered(reader)
        began = now()
        writer.write(REQUEST[:10])
        assert b"" == await reader.read()
        assert pytest.approx(HEADERS_S) == now() - began

    converse(client)
