"""Run moto's server, which stands in for AWS."""

import contextlib
from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextlib.contextmanager
def moto_server() -> Iterator[dict[str, str]]:
    """Start the server, and yield the environment variables that AWS clients need to use it."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  # the import takes two seconds; most tests do not need it

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield KEYS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "NO_PROXY": host}
    finally:
        server.stop()
