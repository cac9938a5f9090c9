"""Test data sets: which photos they contain, in which order and with which pixels."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DistributedSampler

from lambda_app.preprocess import preprocess
from tests.support import ROOT
from tests.support.drawing import draw, encode_image
from tests.training.workspace import link_photos, write_zip
from training import config
from training.augment import Augmenter
from training.batches import loader
from training.manifest import list_classes, read_manifest
from training.photo_dataset import Photos, Preprocessor, read_split, subsample
from training.source import Source
from training.split import Row
from training.train import seed_everything

AUGMENT = config.load(config.Augment, ROOT / "params.yaml")
FILES = {f"{label}/{seed}.jpg": encode_image(draw(label, seed)) for label in ("cat", "dog") for seed in range(10)}
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


# --- photos


@pytest.mark.parametrize("size", [(90, 60), (60, 90), (300, 200), (31, 32)])
def test_preprocessor_returns_the_pixels_of_serving(size):
    """Validation uses the same pixels as serving."""
    photo = encode_image(draw("cat", 0, 128).resize(size))
    np.testing.assert_array_equal(preprocess(photo, 32).pixels, Preprocessor(32)(photo))


def test_photos_are_sorted_by_name(source):
    """Photos are pairs of pixels and label index, sorted by name whatever the order of the labels."""
    shuffled = dict(sorted(LABELS.items(), key=lambda pair: pair[0][::-1]))
    photos = Photos(source, shuffled, ["cat", "dog"], Preprocessor(32))
    assert sorted(FILES) == photos.ids
    assert [0] * 10 + [1] * 10 == photos.labels == [label for _, label in photos]


def test_read_manifest_skips_rows_without_split(project):
    """Files that were set aside are not read."""
    (project / "manifest.csv").write_text(MANIFEST)
    rows = read_manifest(project / "manifest.csv")
    assert ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"] == [row.id for row in rows]


def test_read_split_uses_the_indices_of_all_classes(project):
    """A split has its own photos, with label indices of all classes, even if it lacks one."""
    link_photos(project, write_zip(project / "photos.zip", FILES))
    (project / "manifest.csv").write_text(MANIFEST)
    rows = read_manifest(project / "manifest.csv")
    test = read_split(rows, "test", Preprocessor(32))
    assert (["dog/1.jpg"], [1]) == (test.ids, test.labels)


def test_class_names_are_sorted():
    """Class names are in alphabetical order, the order of the network's outputs."""
    assert ["cat", "dog"] == list_classes([Row("1", label="dog"), Row("2", label="cat"), Row("3", label="dog")])


@given(st.integers(0, 300), st.integers(1, 300))
def test_subsample_takes_photos_at_equal_distances(source, photos, count):
    """At most `count` photos are kept, and at least half of `count` if there are enough, at equal distances."""
    whole = Photos(source, {f"{i:03}": "cat" for i in range(photos)}, ["cat"], Preprocessor(32))
    chosen = subsample(whole, count)
    assert min(photos, (count + 1) // 2) <= len(chosen) <= count
    places = [whole.ids.index(name) for name in chosen.ids]
    assert len({after - before for before, after in pairwise(places)}) <= 1
    assert photos == len(whole)


def test_subsample_keeps_labels(source):
    """Ten photos from ten cats and ten dogs are five of each class, with their own labels."""
    chosen = subsample(Photos(source, LABELS, ["cat", "dog"], Preprocessor(32)), 10)
    assert [LABELS[name] for name in chosen.ids] == [["cat", "dog"][label] for label in chosen.labels]
    assert [5, 5] == [chosen.labels.count(label) for label in (0, 1)]


# --- batches


def batches(source, workers, epoch=0):
    """Return the batches of one epoch, as training reads them."""
    seed_everything(epoch)
    photos = Photos(source, LABELS, ["cat", "dog"], Augmenter(AUGMENT, 32))
    sampler = DistributedSampler(photos, num_replicas=1, rank=0)
    sampler.set_epoch(epoch)
    return list(loader(photos, 8, workers, sampler))


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_returns_batches(source, workers):
    """Batches are uint8 (N, 3, S, S) and int64 (N,)."""
    found = [(images.shape, images.dtype, labels.shape, labels.dtype) for images, labels in batches(source, workers)]
    sizes = (8, 8, 4)
    assert [((n, 3, 32, 32), torch.uint8, (n,), torch.int64) for n in sizes] == found


@pytest.mark.parametrize(
    ("batch_size", "expected"), [(8, [8, 8, 4]), (12, [12, 8]), (15, [15]), (20, [20]), (60, [20])]
)
def test_loader_drops_small_remainder_when_training(source, batch_size, expected):
    """The loader keeps a remainder of 20 photos that fills half a batch or is the only batch; it drops others."""
    photos = Photos(source, LABELS, ["cat", "dog"], Preprocessor(32))
    sampler = DistributedSampler(photos, num_replicas=1, rank=0)
    assert expected == [len(labels) for _, labels in loader(photos, batch_size, 0, sampler)]


def test_loader_keeps_an_incomplete_only_batch(source):
    """Fewer photos than the batch size form one batch."""
    photos = Photos(source, dict.fromkeys(("cat/0.jpg", "cat/1.jpg"), "cat"), ["cat"], Preprocessor(32))
    sampler = DistributedSampler(photos, num_replicas=1, rank=0)
    assert [2] == [len(labels) for _, labels in loader(photos, 8, 0, sampler)]


def test_loader_without_sampler_returns_every_photo(source):
    """Without a sampler, every photo is returned in order."""
    photos = Photos(source, LABELS, ["cat", "dog"], Preprocessor(32))
    labels = [label for _, labels in loader(photos, 8, 0) for label in labels.tolist()]
    assert photos.labels == labels


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_is_repeatable(source, workers):
    """An epoch has the same order and augmentation, whichever epochs came before."""
    expected = batches(source, workers, epoch=2)
    batches(source, workers, epoch=1)
    for one, other in zip(expected, batches(source, workers, epoch=2), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_differ(source, workers):
    """Two epochs have different orders and augmentations."""
    epochs = [batches(source, workers, epoch) for epoch in (1, 2)]
    first, second = ([label for _, labels in batches for label in labels.tolist()] for batches in epochs)
    assert first != second
    first, second = ({image.numpy().tobytes() for images, _ in batches for image in images} for batches in epochs)
    assert not first & second


def test_workers_differ(tmp_path):
    """Two workers augment the same photo differently."""
    files = {f"cat/{i}.jpg": FILES["cat/0.jpg"] for i in range(16)}
    source = Source(write_zip(tmp_path / "same.zip", files))
    photos = Photos(source, dict.fromkeys(files, "cat"), ["cat"], Augmenter(AUGMENT, 32))
    images = [image.numpy().tobytes() for batch, _ in loader(photos, 8, 2) for image in batch]
    assert len(images) == len(set(images))
