"""Pages whose tables a command writes."""

import pytest

from infra.markdown import filled, table

PAGE = "before\n<!-- a -->\nold\n<!-- /a -->\nafter\n"


def test_only_the_block_changes():
    """What stands around the markers stays."""
    assert "before\n<!-- a -->\nnew\n<!-- /a -->\nafter\n" == filled(PAGE, {"a": "new"})


def test_filling_twice_changes_nothing():
    """A command may run again."""
    once = filled(PAGE, {"a": "new"})
    assert once == filled(once, {"a": "new"})


@pytest.mark.parametrize("blocks", [{}, {"b": "new"}, {"a": "new", "b": "new"}])
def test_a_lost_marker_is_an_error(blocks):
    """Otherwise a page would keep its old figures in silence."""
    with pytest.raises(ValueError, match="expected"):
        filled(PAGE, blocks)


def test_the_figures_of_a_table_are_to_the_right():
    """The first column is words."""
    assert "| a | b |\n| --- | ---: |\n| x | 1 |" == table(("a", "b"), [("x", "1")])
