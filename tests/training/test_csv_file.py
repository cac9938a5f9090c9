"""Test CSV files that a person may have saved with a spreadsheet program."""

import pytest

from training.csv_file import read_lines
from training.interruption import UserError

COLUMNS = ("id", "label")


def read(tmp_path, data):
    path = tmp_path / "list.csv"
    path.write_bytes(data)
    return read_lines(path, COLUMNS, UserError, "restore this line")


@pytest.mark.parametrize(
    "data",
    [b"id,label\n1,cat\n", b"\xef\xbb\xbfid,label\n1,cat\n", b"id,label\r\n1,cat\r\n", b"label,id\ncat,1\n"],
    ids=["as written", "byte order mark", "line ends of Windows", "other order"],
)
def test_list_that_a_spreadsheet_saved_is_read(tmp_path, data):
    """A byte order mark, the line ends of Windows and another order of the columns change no value."""
    assert [(f"{tmp_path}/list.csv, line 2", {"id": "1", "label": "cat"})] == read(tmp_path, data)


def test_further_columns_may_be_missing(tmp_path):
    """A further column is empty where a line ends early."""
    [(_, row)] = read(tmp_path, b"id,label,note\n1,cat\n")
    assert {"id": "1", "label": "cat", "note": ""} == row


@pytest.mark.parametrize("line", [b"2,a cat, or not", b"2"], ids=["a value too many", "a value missing"])
def test_line_of_another_length_is_an_error(tmp_path, line):
    """A line with too few or too many values is an error that names it."""
    with pytest.raises(UserError, match=r"list\.csv, line 3: expected 2 values; put a value with a comma in quotes"):
        read(tmp_path, b"id,label\n1,cat\n" + line + b"\n")


def test_missing_column_is_an_error(tmp_path):
    """A file without one of the columns is an error that quotes its first line, with the advice."""
    message = "list.csv begins with 'id;label'; expected id,label; restore this line"
    with pytest.raises(UserError, match=message):
        read(tmp_path, b"id;label\n1;cat\n")
