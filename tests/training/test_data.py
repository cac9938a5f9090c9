"""What the network gets to see: augmented where it learns, exactly as served where it is measured."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from lambda_app.preprocess import preprocess
from tests.drawing import draw, encode
from tests.training.workspace import link_photos, write_zip
from training import config
from training.data import Augmented, Photos, Upright, class_names, loader, read_folder, read_manifest, read_split
from training.source import Source
from training.train import seed_everything

AUGMENT = config.Augment(crop_scale=(0.4, 1.0), flip=0.5, rotation=12, brightness=0.3, contrast=0.3, noise=0.02)
STILL = config.Augment(crop_scale=(1.0, 1.0), flip=0, rotation=0, brightness=0, contrast=0, noise=0)
FILES = {f"{label}/{seed}.jpg": encode(draw(label, seed)) for label in ("cat", "dog") for seed in range(10)}
LABELS = {name: name.split("/")[0] for name in FILES}
MANIFEST = """id,sha256,label,split,group,reason
cat/0.jpg,00,cat,train,00,
cat/1.jpg,01,cat,val,01,
cat/2.jpg,02,cat,,,empty file
dog/0.jpg,03,dog,train,03,
dog/1.jpg,04,dog,test,04,
"""


@pytest.fixture
def source(tmp_path):
    return Source(write_zip(tmp_path / "photos.zip", FILES))


@pytest.mark.parametrize("params", [AUGMENT, STILL], ids=["as trained", "still"])
@pytest.mark.parametrize("photo", [draw("cat", 0, 200), draw("cat", 0, 20), draw("dog", 1).convert("L")])
def test_augmented_pixels(photo, params):
    """Photos of any size and mode become uint8 (3, S, S)."""
    pixels = Augmented(params, 48)(encode(photo))
    assert ((3, 48, 48), torch.uint8) == (pixels.shape, pixels.dtype)


def test_augmentation_varies():
    """A photo is never seen twice in the same way."""
    augmented = Augmented(AUGMENT, 48)
    seen = [augmented(FILES["cat/0.jpg"]) for _ in range(10)]
    assert not any(torch.equal(one, other) for one, other in pairwise(seen))


def test_still_augmentation():
    """With every strength at zero, a square photo stays what it is."""
    expected = preprocess(FILES["cat/0.jpg"], 64).pixels
    np.testing.assert_array_equal(expected, Augmented(STILL, 64)(FILES["cat/0.jpg"]).numpy())


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


# --- batches


def batches(source, workers, seed=0):
    seed_everything(seed)
    photos = Photos(source, LABELS, ["cat", "dog"], Augmented(AUGMENT, 32))
    return list(loader(photos, 8, workers, shuffle=True, seed=seed))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(source, workers):
    """uint8 (N, 3, S, S) and int64 (N,); while shuffling, the remainder of 4 photos is left out."""
    found = [(images.shape, images.dtype, labels.shape, labels.dtype) for images, labels in batches(source, workers)]
    assert [((8, 3, 32, 32), torch.uint8, (8,), torch.int64)] * 2 == found


def test_remainder_is_measured(source):
    """Without shuffling every photo counts, in order."""
    photos = Photos(source, LABELS, ["cat", "dog"], Upright(32))
    labels = [label for _, labels in loader(photos, 8, 0, shuffle=False) for label in labels.tolist()]
    assert photos.labels == labels


@pytest.mark.parametrize("workers", [0, 2])
def test_seed(source, workers):
    """The same seed is the same order and the same augmentation."""
    for one, other in zip(batches(source, workers), batches(source, workers), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_other_seed(source, workers):
    """Another seed is another order."""
    orders = [torch.cat([labels for _, labels in batches(source, workers, seed)]) for seed in (0, 1)]
    assert not torch.equal(*orders)


def test_epochs_differ(source):
    """The second epoch is another order and another augmentation, also in workers that live on."""
    photos = Photos(source, LABELS, ["cat", "dog"], Augmented(AUGMENT, 32))
    load = loader(photos, 20, 2, shuffle=True)
    (first, _), (second, _) = next(iter(load)), next(iter(load))
    assert not {image.numpy().tobytes() for image in first} & {image.numpy().tobytes() for image in second}


def test_workers_differ(tmp_path):
    """Two workers draw different augmentations of the same photo."""
    files = {f"cat/{i}.jpg": FILES["cat/0.jpg"] for i in range(16)}
    source = Source(write_zip(tmp_path / "same.zip", files))
    photos = Photos(source, dict.fromkeys(files, "cat"), ["cat"], Augmented(AUGMENT, 32))
    images = [image.numpy().tobytes() for batch, _ in loader(photos, 8, 2, shuffle=True) for image in batch]
    assert len(images) == len(set(images))
