"""`make train DRY=1`: describe what `make train` would do, in seconds and without changing the project.

The dry run decodes only the header of each photo, so it finds neither damaged pixels nor near duplicates.
"""

import argparse
from pathlib import Path

from training import config
from training.catalog import DEFAULT, find_place, read_catalog
from training.estimate import estimate
from training.fetch import add_source_options, has_photos, read_sources, split_sources
from training.interruption import UserError, exit_when_interrupted
from training.overview import describe
from training.prepare import check_classes, check_layout, choose_splits, inspect_photos
from training.source import PHOTOS, Source, SourceList
from training.split import Row


@exit_when_interrupted()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_source_options(parser)
    args = parser.parse_args()
    config.check_sections()
    check_downloads(args.data)
    listed = read_sources(args.data, args.classes, args.split)
    source = open_source(listed)
    rows = inspect(source)
    photos = [row for row in rows if row.split]
    print("parameters: params.yaml is valid")
    print(f"estimate: {estimate(source, photos)}")
    print("nothing was changed; near duplicates and damaged pixels are found during the training")


def inspect(source: Source) -> list[Row]:
    """Print the overview of the photos, and return their rows. Raise `SourceError` if they cannot be used."""
    params = config.load(config.Prepare)
    layout = source.layout(params.aliases)
    check_layout(layout, source.path)
    found = inspect_photos(source, layout.labels, is_quick=True)
    rows, layout = choose_splits(found, layout, params, source)
    print("\n".join(describe(rows, layout)))
    check_classes(rows, layout, source.path)
    return rows


def open_source(listed: SourceList) -> Source:
    """Open the sources as `make train` would, so that the same photos get the same names."""
    if listed.is_plain:
        return Source(Path(listed.sources[0]))
    return Source(PHOTOS, listed)


def check_downloads(data: str) -> None:
    """Raise `UserError` if a source would have to be downloaded."""
    if not data and has_photos():
        return
    catalog = read_catalog()
    for name in split_sources(data or DEFAULT):
        if name in catalog and not Path(name).exists() and not find_place(name, catalog[name]).exists():
            raise UserError(f"{name} is not downloaded yet; run `make train DATA={name}`, which downloads it")


if __name__ == "__main__":
    main()
