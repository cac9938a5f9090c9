"""What the network gets to see: augmented where it learns, exactly as served where it is measured."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from lambda_app.preprocess import preprocess
from tests.drawing import draw, encode, write_dataset
from tests.training.workspace import ROOT, link_photos, write_zip
from training import config
from training.augment import Augmented
from training.data import (
    Photos,
    Upright,
    class_names,
    every,
    loader,
    read_folder,
    read_manifest,
    read_split,
    read_unlabelled,
)
from training.source import Source
from training.train import seed_everything

AUGMENT = config.load(config.Augment, ROOT / "params.yaml")
FILES = {f"{label}/{seed}.jpg": encode(draw(label, seed)) for label in ("cat", "dog") for seed in range(10)}
LABELS = {name: name.split("/")[0] for name in FILES}
MANIFEST = """id,sha256,label,split,group,reason
cat/0.jpg,00,cat,train,00,
cat/1.jpg,01,cat,val,01,
cat/2.jpg,02,cat,,,empty file
dog/0.jpg,03,dog,train,03,
dog/1.jpg,04,dog,test,04,
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Source(write_zip(tmp_path_factory.mktemp("source") / "photos.zip", FILES))


# --- as served


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (300, 200), (31, 32)])
def test_upright_pixels(size):
    """Validation sees exactly the pixels that serving makes of the same bytes."""
    photo = encode(draw("cat", 0, 128).resize(size))
    np.testing.assert_array_equal(preprocess(photo, 32).pixels, Upright(32)(photo))


def test_photos(source):
    """Pairs of pixels and label index, sorted by name, whatever the order of the labels."""
    shuffled = dict(sorted(LABELS.items(), key=lambda pair: pair[0][::-1]))
    photos = Photos(source, shuffled, ["cat", "dog"], Upright(32))
    assert sorted(FILES) == photos.ids
    assert [0] * 10 + [1] * 10 == photos.labels == [label for _, label in photos]


def test_manifest(project):
    """What was set aside is not read."""
    (project / "manifest.csv").write_text(MANIFEST)
    rows = read_manifest(project / "manifest.csv")
    assert ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"] == [row["id"] for row in rows]


def test_splits(project):
    """A split holds its own photos, with the indices of all classes, also where it lacks one."""
    link_photos(project, write_zip(project / "photos.zip", FILES))
    (project / "manifest.csv").write_text(MANIFEST)
    rows = read_manifest(project / "manifest.csv")
    test = read_split(rows, "test", Upright(32))
    assert (["dog/1.jpg"], [1]) == (test.ids, test.labels)


def test_class_names():
    """Classes are in alphabetical order, which is the order of the network's outputs."""
    assert ["cat", "dog"] == class_names([{"label": "dog"}, {"label": "cat"}, {"label": "dog"}])


def test_other_sets(project):
    """Of any other set, the readable photos of the classes that the model knows."""
    files = FILES | {"rabbit/0.jpg": encode(draw("rabbit", 0)), "cat/broken.jpg": b"no"}
    photos = read_folder(write_zip(project / "more.zip", files), ["cat", "dog"], Upright(32))
    assert sorted(FILES) == photos.ids


def test_other_set_without_known_class(project):
    """A set that shows none of the classes holds no photo."""
    path = write_zip(project / "more.zip", {"rabbit/0.jpg": encode(draw("rabbit", 0))})
    assert 0 == len(read_folder(path, ["cat", "dog"], Upright(32)))


OUTLIERS = {
    "at the top.jpg": encode(draw("rabbit", 0)),
    "rooms/kitchen.png": encode(draw("rabbit", 1), "PNG"),
    "rooms/more/cat.0.JPG": encode(draw("rabbit", 2)),
    "broken.jpg": b"no",
    "readme.txt": b"hello",
}
READABLE = ["at the top.jpg", "rooms/kitchen.png", "rooms/more/cat.0.JPG"]


def test_outliers(tmp_path):
    """Of a set of anything else, every readable photo, wherever it lies and whatever it is called."""
    photos = read_unlabelled(write_zip(tmp_path / "else.zip", OUTLIERS), Upright(32))
    assert READABLE == photos.ids
    assert [(3, 32, 32)] * 3 == [pixels.shape for pixels, _ in photos]


def test_outliers_in_a_folder(tmp_path):
    """A folder is read like an archive, also where it has class folders."""
    photos = read_unlabelled(write_dataset(tmp_path / "zoo", {"rabbit": 2, "cat": 1}), Upright(32))
    assert ["cat/0.jpg", "rabbit/0.jpg", "rabbit/1.jpg"] == photos.ids


@given(st.integers(0, 300), st.integers(1, 300))
def test_every(source, photos, count):
    """At most so many, and at least half as many where there are enough; between them always as many left out."""
    whole = Photos(source, {f"{i:03}": "cat" for i in range(photos)}, ["cat"], Upright(32))
    chosen = every(whole, count)
    assert min(photos, (count + 1) // 2) <= len(chosen) <= count
    places = [whole.ids.index(name) for name in chosen.ids]
    assert len({after - before for before, after in pairwise(places)}) <= 1
    assert photos == len(whole)


def test_every_keeps_the_labels(source):
    """Of ten cats and ten dogs, ten photos are five of each, with their own labels."""
    chosen = every(Photos(source, LABELS, ["cat", "dog"], Upright(32)), 10)
    assert [LABELS[name] for name in chosen.ids] == [["cat", "dog"][label] for label in chosen.labels]
    assert [5, 5] == [chosen.labels.count(label) for label in (0, 1)]


# --- batches


def batches(source, workers, epoch=0):
    """Of one epoch, as training reads them."""
    seed_everything(epoch)
    photos = Photos(source, LABELS, ["cat", "dog"], Augmented(AUGMENT, 32))
    sampler = DistributedSampler(photos, num_replicas=1, rank=0)
    sampler.set_epoch(epoch)
    return list(loader(photos, 8, workers, sampler))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(source, workers):
    """uint8 (N, 3, S, S) and int64 (N,)."""
    found = [(images.shape, images.dtype, labels.shape, labels.dtype) for images, labels in batches(source, workers)]
    sizes = (8, 8, 4)
    assert [((n, 3, 32, 32), torch.uint8, (n,), torch.int64) for n in sizes] == found


@pytest.mark.parametrize(("batch_size", "expected"), [(8, [8, 8, 4]), (12, [12, 8]), (15, [15]), (20, [20])])
def test_remainder_while_training(source, batch_size, expected):
    """Of 20 photos, a remainder of half a batch is learnt from, a smaller one is left out."""
    photos = Photos(source, LABELS, ["cat", "dog"], Upright(32))
    sampler = DistributedSampler(photos, num_replicas=1, rank=0)
    assert expected == [len(labels) for _, labels in loader(photos, batch_size, 0, sampler)]


def test_few_photos_are_a_batch(source):
    """Photos that fill no batch are one all the same."""
    photos = Photos(source, dict.fromkeys(("cat/0.jpg", "cat/1.jpg"), "cat"), ["cat"], Upright(32))
    sampler = DistributedSampler(photos, num_replicas=1, rank=0)
    assert [2] == [len(labels) for _, labels in loader(photos, 8, 0, sampler)]


def test_remainder_is_measured(source):
    """Without a sampler every photo counts, in order."""
    photos = Photos(source, LABELS, ["cat", "dog"], Upright(32))
    labels = [label for _, labels in loader(photos, 8, 0) for label in labels.tolist()]
    assert photos.labels == labels


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_is_repeatable(source, workers):
    """An epoch is the same order and the same augmentation, whichever epochs went before."""
    expected = batches(source, workers, epoch=2)
    batches(source, workers, epoch=1)
    for one, other in zip(expected, batches(source, workers, epoch=2), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_differ(source, workers):
    """Another epoch is another order and another augmentation."""
    epochs = [batches(source, workers, epoch) for epoch in (1, 2)]
    first, second = ([label for _, labels in batches for label in labels.tolist()] for batches in epochs)
    assert first != second
    first, second = ({image.numpy().tobytes() for images, _ in batches for image in images} for batches in epochs)
    assert not first & second


def test_workers_differ(tmp_path):
    """Two workers draw different augmentations of the same photo."""
    files = {f"cat/{i}.jpg": FILES["cat/0.jpg"] for i in range(16)}
    source = Source(write_zip(tmp_path / "same.zip", files))
    photos = Photos(source, dict.fromkeys(files, "cat"), ["cat"], Augmented(AUGMENT, 32))
    images = [image.numpy().tobytes() for batch, _ in loader(photos, 8, 2) for image in batch]
    assert len(images) == len(set(images))
