"""Serve the function on http://127.0.0.1:8000 until Ctrl-C, in Lambda's runtime behind an emulated function URL."""

import argparse
import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG

from infra.emulator.function_url import Authorized, anyone, create_app
from infra.emulator.invoke import invoke_url
from infra.emulator.runtime import Runtime, RuntimeDied, RuntimeNotFound, lambda_runtime
from infra.emulator.sigv4 import read_verifier


def local_app(runtime: Runtime, *, authorized: Authorized = anyone) -> ASGIApp:
    """Return an app that emulates the function URL of a runtime. Its timeout is 15 s longer than the function's."""
    return create_app(invoke_url(runtime.endpoint), timeout_s=runtime.timeout_s + 15, authorized=authorized)


def with_cors(app: ASGIApp, origin: str) -> ASGIApp:
    """Allow an origin as template.yaml does.

    Preflights from other origins get 400; AWS does not document what its function URLs return.
    """
    return CORSMiddleware(
        app,
        allow_origins=[origin],
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"],
        expose_headers=["x-request-id"],
        max_age=3600,
    )


def listen(port: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port))
    # asyncio sets TCP_NODELAY only if the socket names TCP as its protocol, which this one does not. Without it, each
    # response would wait 40 ms for a delayed ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def listen_or_explain(command: str, port: int, hint: str) -> socket.socket | None:
    """Return a listener, or print why the command cannot use the port, and return None."""
    try:
        return listen(port)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        print(f"{command}: port {port}: {reason}; choose another with {hint}", file=sys.stderr)
        return None


def server(app: ASGIApp, log_config: dict[str, Any] | None = LOGGING_CONFIG) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_config=log_config,
        log_level="warning",
        proxy_headers=False,  # otherwise, a client could choose its sourceIp
        timeout_keep_alive=75,  # s; with the default of 5, a slow client can send a request to a closing connection
        timeout_graceful_shutdown=1,  # s; an invocation may take minutes, but Ctrl-C should be fast
        ws="none",
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def background(app: ASGIApp) -> Iterator[str]:
    """Serve `app` from a thread on a free port; yield its URL.

    Uvicorn's logging configuration is off, because it binds the process's loggers to the current standard error, which
    may be closed when the next server logs.
    """
    with listen(0) as listener:
        running = server(app, log_config=None)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join()


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.emulator.serve", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0 for a free port")
    parser.add_argument("--auth", choices=["NONE", "AWS_IAM"], default="NONE", help="who may call the URL")
    parser.add_argument("--cors-origin", metavar="ORIGIN", help="the site that CORS allows, e.g. https://example.org")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    listener = listen_or_explain("serve", options.port, "--port or PORT=")
    if not listener:
        return 1
    try:
        with listener:
            authorized = read_verifier() if options.auth == "AWS_IAM" else anyone
            with lambda_runtime(echo=True) as runtime:
                app = local_app(runtime, authorized=authorized)
                app = with_cors(app, options.cors_origin) if options.cors_origin else app
                print(f"Serving http://127.0.0.1:{listener.getsockname()[1]} (Ctrl-C stops)", flush=True)
                server(app).run(sockets=[listener])
    except (RuntimeNotFound, RuntimeDied, ValueError) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
