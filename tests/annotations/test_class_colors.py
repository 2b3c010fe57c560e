"""Every class of a table has a colour, its own if it has one."""

from __future__ import annotations

from fitcli.annotations.class_colors import BACKGROUND_COLOR, DISTINCT, with_colors
from fitcli.annotations.class_table import MOST_CLASSES, ClassTable


def test_own_colours_stay_and_others_follow_in_order() -> None:
    table = ClassTable(("Background", "a", "b", "c"), (0, 1, 2, 3), (None, None, (1, 2, 3), None))
    assert with_colors(table).colors == (BACKGROUND_COLOR, DISTINCT[0], (1, 2, 3), DISTINCT[1])
    assert with_colors(with_colors(table)) == with_colors(table)


def test_as_many_classes_as_there_can_be_have_different_colours() -> None:
    names = tuple(f"class {number}" for number in range(MOST_CLASSES))
    colors = with_colors(ClassTable(names, tuple(range(MOST_CLASSES)))).colors
    assert all(color is not None and all(0 <= part <= 255 for part in color) for color in colors)
    assert len(set(colors[:40])) == 40
    assert len(set(colors)) > 0.9 * MOST_CLASSES
