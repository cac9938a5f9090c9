"""Test data/set-aside.csv: the format, relabeling, and errors that name the line."""

import csv

import pytest

from training.reviewed import Review, read_reviewed, relabel, write_reviewed
from training.source import SourceError
from training.split import Row

ONE, TWO = "1" * 64, "2" * 64


def read(tmp_path, text):
    path = tmp_path / "reviewed.csv"
    path.write_text(text)
    return read_reviewed(path)


def test_list_without_labels_sets_photos_aside(tmp_path):
    """A list without the column `label`, as in earlier versions, sets every photo aside."""
    found = read(tmp_path, f'sha256,id,reason\n{ONE},1.jpg,"a drawing, no photo"\n')
    assert [(ONE, "", "a drawing, no photo")] == [(name, row.label, row.reason) for name, row in found.items()]


def test_label_of_a_row_is_in_lower_case(tmp_path):
    """A label and a hash are read without regard to case and spaces; an empty label sets the photo aside."""
    found = read(tmp_path, f"sha256,id,reason,label\n{'A' * 64},1.jpg,wrong, Dog \n{ONE},2.jpg,drawing,\n")
    assert [("a" * 64, "dog"), (ONE, "")] == [(name, row.label) for name, row in found.items()]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1.jpg,wrong,dog"], "reviewed.csv, line 2: sha256 is '1.jpg'; expected 64 hexadecimal digits"),
        ([f"{ONE},wrong,dog", f"{ONE.upper()},wrong,dog"], f"line 3: .*reviewed.csv, line 2 has the same photo.*{ONE}"),
    ],
    ids=["no hash", "a photo twice"],
)
def test_invalid_line_is_an_error(tmp_path, lines, message):
    """A line with an invalid hash or with a photo that an earlier line has is an error that names it."""
    with pytest.raises(SourceError, match=message):
        read(tmp_path, "\n".join(["sha256,reason,label", *lines]))


def test_list_without_header_is_an_error(tmp_path):
    """A list without the header is an error that quotes its first line."""
    message = rf"reviewed.csv begins with '{ONE},a drawing'; expected sha256,reason; add this header"
    with pytest.raises(SourceError, match=message):
        read(tmp_path, f"{ONE},a drawing\n")


def test_reviewed_photo_gets_its_label():
    """Each photo with a reviewed label gets it in every split; aliases count; unreadable files keep their row."""
    rows = [
        Row("1.jpg", ONE, "cat", "test"),
        Row("2.jpg", ONE, "cat", "train"),
        Row("3.jpg", TWO, "cat", "train"),
        Row("4.jpg", ONE, "cat", reason="damaged_image"),
    ]
    found = relabel(rows, {ONE: Review("dogs", ""), TWO: Review("", "drawing")}, {"cat", "dog"}, {"dogs": "dog"})
    assert ["dog", "dog", "cat", "cat"] == [row.label for row in found]


def test_label_that_is_not_a_class_is_an_error():
    """A label that is not a class of the photos is an error with the line; rows of other photos are ignored."""
    review = Review("horse", "", "data/set-aside.csv, line 7")
    assert [] == relabel([], {ONE: review}, {"cat"}, {})
    with pytest.raises(SourceError, match=r"set-aside.csv, line 7: label is 'horse'; expected cat, dog, or nothing"):
        relabel([Row("1.jpg", ONE, "cat")], {ONE: review}, {"dog", "cat"}, {})


def test_interrupted_writing_keeps_the_list(tmp_path, monkeypatch):
    """If writing fails, the list is as before."""
    path = tmp_path / "reviewed.csv"
    path.write_text(f"sha256,id,reason\n{ONE},1.jpg,drawing\n")
    before = path.read_bytes()
    monkeypatch.setattr(csv.DictWriter, "writerows", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_reviewed({TWO: ("2.jpg", Review("cat", ""))}, path)
    assert before == path.read_bytes()


def test_photo_listed_twice_loses_no_line(tmp_path):
    """Adding decisions to a list that has a photo twice is an error, and the list is as before."""
    path = tmp_path / "reviewed.csv"
    path.write_text(f"sha256,id,reason\n{ONE},1.jpg,drawing\n{ONE},2.jpg,logo\n")
    before = path.read_bytes()
    with pytest.raises(SourceError, match=r"line 3: .*has the same photo"):
        write_reviewed({TWO: ("2.jpg", Review("cat", ""))}, path)
    assert before == path.read_bytes()
