"""Test the catalog, and downloads that resume, fail with one line and are verified. The server is real."""

import hashlib
import re
import socket
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.http_server import QuietHandler, serving
from tests.training.workspace import archive
from training.interruption import UserError
from training.source import PHOTOS

FILE = Path("data/raw/pets.zip")
PART = Path("data/raw/pets.zip.part")


class Server(ThreadingHTTPServer):
    """Serve one file, with or without byte ranges (RFC 9110, 14.2), optionally closing the connection early."""

    daemon_threads = False  # closing the server waits for its responses

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.resumes, self.status, self.closes_after = content, True, 200, len(content)
        self.ranges: list[str | None] = []  # of the requests

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pets.zip"


class Handler(QuietHandler):
    server: Server

    def do_GET(self) -> None:  # noqa: N802  # http.server calls this name
        range_header = self.headers["Range"]
        self.server.ranges.append(range_header)
        begin = int(range_header.removeprefix("bytes=").rstrip("-")) if range_header and self.server.resumes else 0
        status = 206 if begin else self.server.status
        rest = self.server.content[begin:]
        self.send_response(status if rest else 416)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        with suppress(ConnectionError):  # the client does not read the body of an error
            self.wfile.write(rest[: self.server.closes_after])


@pytest.fixture
def server():
    server = Server(archive())
    with serving(server):
        yield server


@pytest.fixture
def catalog(run, server, project):
    """Write a catalog with the server's file; return the function that writes it."""
    (project / "data/raw").mkdir()

    def write(sha256=None):
        entry = {"download": server.url, "file": FILE.name} | ({"sha256": sha256} if sha256 else {})
        (project / "data/datasets.yaml").write_text(yaml.safe_dump({"pets": entry}))

    write()
    return write


def test_download_is_verified_and_linked(run, catalog, server):
    """A name in the catalog is downloaded, verified and linked."""
    catalog(sha256=hashlib.sha256(server.content).hexdigest())
    run("--data", "pets")
    assert server.content == FILE.read_bytes() == PHOTOS.read_bytes()
    assert not PART.exists()


def test_existing_file_is_not_downloaded(run, catalog, server):
    """A file that exists is not downloaded again."""
    run("--data", "pets")
    run("--data", "pets")
    assert [None] == server.ranges


def test_download_restarts_without_ranges(run, catalog, server):
    """If the server sends the whole file again, the download starts over."""
    PART.write_bytes(b"something else")
    server.resumes = False
    run("--data", "pets")
    assert server.content == FILE.read_bytes()


def test_complete_partial_file_is_used(run, catalog, server):
    """A partial file that is complete is verified and renamed."""
    PART.write_bytes(server.content)
    run("--data", "pets")
    assert server.content == FILE.read_bytes()


def test_broken_connection_is_an_error_and_resumes(run, catalog, server):
    """A broken connection is one line with the address and the path; the next attempt resumes."""
    server.content = archive(mebibytes=3)
    server.closes_after = 2_500_000
    with pytest.raises(UserError, match=f"^cannot download {server.url} .*; put that file at {FILE}$"):
        run("--data", "pets")
    assert not FILE.exists()
    server.closes_after = len(server.content)
    run("--data", "pets")
    assert [None, f"bytes={2 << 20}-"] == server.ranges  # whole chunks of 1 MiB were kept
    assert server.content == FILE.read_bytes()


def test_http_error_is_an_error(run, catalog, server):
    """An HTTP error is one line with the status, and its body is not kept."""
    server.status = 404
    with pytest.raises(UserError, match=f"^cannot download {server.url} .*404.*; put that file at {FILE}$"):
        run("--data", "pets")
    assert not PART.exists()


def test_wrong_sha256_is_an_error(run, catalog, server):
    """A file with another SHA-256 than the catalog's is not used; the error names both."""
    catalog(sha256="0" * 64)
    with pytest.raises(UserError, match=f"{PART} has SHA-256 {hashlib.sha256(server.content).hexdigest()}.*{'0' * 64}"):
        run("--data", "pets")
    assert not FILE.exists()


def test_download_that_is_not_an_archive_is_an_error(run, catalog, server):
    """A web page is not used as an archive."""
    server.content = b"<html>Sorry</html>"
    with pytest.raises(UserError, match=f"{PART} is not a zip archive; delete it and try again"):
        run("--data", "pets")
    assert not FILE.exists()


def test_download_without_network_is_an_error(run, catalog, server, project):
    """Without a network, one line names the address and where to put the file."""
    with socket.socket() as closed:  # bound but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/pets.zip"
        (project / "data/datasets.yaml").write_text(yaml.safe_dump({"pets": {"download": url, "file": FILE.name}}))
        with pytest.raises(UserError, match=f"^cannot download {url} .*; put that file at {FILE}$") as error:
            run("--data", "pets")
    assert "\n" not in str(error.value)


def test_oxford_pets_without_network_is_an_error(run):
    """For the Oxford pets, too, one line says where to put them."""
    message = "^cannot download Oxford-IIIT Pet .*; put its folder at data/raw/oxford-iiit-pet$"
    with pytest.raises(UserError, match=message) as error:
        run("--data", "oxford-iiit-pet")
    assert "\n" not in str(error.value)


CATALOG = yaml.safe_load((ROOT / "data/datasets.yaml").read_text())


@pytest.mark.parametrize("name", CATALOG)
def test_catalog_entry_is_complete(name):
    """An entry has a title, an address, a license and a layout, all as texts; `names` is a list of texts."""
    entry = dict(CATALOG[name])
    assert all(isinstance(value, str) for value in entry.pop("names", []))
    assert {"title", "download", "license", "layout"} <= set(entry)
    assert all(isinstance(value, str | None) for value in entry.values())


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if "file" in entry])
def test_catalog_download_is_valid(name):
    """A file has an HTTPS address that ends with its name, and a valid SHA-256 if known."""
    entry = CATALOG[name]
    assert re.fullmatch(rf"https://[^ ]+/{re.escape(entry['file'])}", entry["download"])
    assert entry["sha256"] is None or re.fullmatch("[0-9a-f]{64}", entry["sha256"])


def test_unknown_name_is_an_error(run):
    """A value that is neither a path nor in the catalog is an error that lists the catalog."""
    with pytest.raises(
        UserError, match=r"^'cats' is not a file, a folder or a name in data/datasets.yaml \(petimages, "
    ):
        run("--data", "cats")
