"""`make train DRY=1`: describe what `make train` would do, in seconds and without changing a file.

The dry run reads only the header of each photo, so it finds neither damaged pixels nor near duplicates.
"""

import argparse
import math
import os
import time
from pathlib import Path

import torch
import yaml

from lambda_app.preprocess import preprocess
from training import config
from training.fetch import CATALOG, RAW, FetchError, add_source_options, read_sources, split_sources
from training.model import build
from training.overview import describe
from training.prepare import check_classes, check_layout, choose_splits, inspect_photos
from training.source import PHOTOS, Source, SourceList
from training.split import Row

TRIAL_PHOTOS = 8  # of the training step that is timed


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
    print(f"estimate: {estimate(source, photos):.0f} minutes or less to prepare and train")
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
    if len(listed.sources) == 1 and not (listed.classes or listed.split):
        return Source(Path(listed.sources[0]))
    return Source(PHOTOS, listed)


def check_downloads(data: str) -> None:
    """Raise `FetchError` if a source would have to be downloaded."""
    catalog = yaml.safe_load(CATALOG.read_text())
    names = split_sources(data) if data else [] if PHOTOS.exists() or PHOTOS.is_symlink() else ["petimages"]
    for name in names:
        if (
            name in catalog
            and not Path(name).exists()
            and not (RAW / catalog[name].get("file", f"{name}-by-class")).exists()
        ):
            raise FetchError(f"{name} is not downloaded yet; run `make train DATA={name}`, which downloads it")


def estimate(source: Source, photos: list[Row]) -> float:
    """Estimate the minutes of decoding all photos once and of training, from one step with a few photos."""
    params = config.load(config.Train)
    files = [source.read(row.id) for row in photos[:: math.ceil(len(photos) / TRIAL_PHOTOS)]]
    start = time.thread_time()
    pixels = torch.stack([torch.from_numpy(preprocess(data, params.image_size).pixels.copy()) for data in files])
    decoding = (time.thread_time() - start) / len(files)
    training = time_step(pixels, params, len({row.label for row in photos})) / len(files)
    epoch = max(
        sum(row.split == "train" for row in photos), math.ceil(params.min_steps / params.epochs) * params.batch_size
    )
    cores = len(os.sched_getaffinity(0))
    seconds = (len(photos) * decoding + params.epochs * epoch * (training + decoding)) / cores
    return max(1.0, seconds / 60)


def time_step(pixels: torch.Tensor, params: config.Train, classes: int) -> float:
    """Return the CPU seconds of a forward and a backward pass on one thread.

    CPU time on one thread does not depend on other programs. The first pass allocates memory, so only the second one is
    timed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = build(params.architecture, classes, params.dropout).to(memory_format=torch.channels_last)
    images = pixels.to(memory_format=torch.channels_last)
    labels = torch.arange(len(pixels)) % classes
    seconds = 0.0
    for _ in range(2):
        start = time.process_time()
        torch.nn.functional.cross_entropy(network(images)[0], labels).backward()
        seconds = time.process_time() - start
    torch.set_num_threads(threads)
    return seconds


if __name__ == "__main__":
    main()
