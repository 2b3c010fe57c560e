"""How a data set has changed, in words."""

from __future__ import annotations

from fitcli.data.dataset_changes import describe_changes, describe_edits


def test_kinds_of_changes() -> None:
    before = [("a", "x", "train"), ("b", "x", "val"), ("c", "y", "train"), ("d", "y", "train")]
    assert describe_changes(before, before) == ""
    assert describe_changes(before, before[::-1]) == "the same images are listed in another order"
    assert describe_changes(before, [("a", "y", "train"), *before[1:]]) == "1 image with another label (a: y, was x)"
    assert describe_changes(before, [before[0], ("b", "y", "train"), *before[2:]]) == (
        "1 image with another label (b: y, was x), 1 image in another split (b: train, was val)"
    )
    many = [*before, *((f"{number}", "x", "train") for number in range(100))]
    assert describe_changes(before, many[2:]) == "100 images added (0; 1; 2; ...), 2 images removed (a; b)"
    assert describe_changes(many, before) == "100 images removed (0; 1; 2; ...)"


def test_a_record_in_another_unicode_form_is_no_change() -> None:
    before = [("Ka\u0308se/a", "Ka\u0308se", "train"), ("x/b", "x", "val")]
    assert describe_changes(before, [("K\u00e4se/a", "K\u00e4se", "train"), ("x/b", "x", "val")]) == ""


def test_edited_files_of_labels() -> None:
    before = {"a": "1", "b": "2", "c": "3"}
    assert describe_edits(before, before) == ""
    assert describe_edits({}, before) == "", "a run of before digests were kept"
    assert describe_edits(before, {"a": "1", "d": "4"}) == "", "added and removed files are other changes"
    assert describe_edits(before, {**before, "b": "x"}) == "1 file of labels edited (b)"
    assert describe_edits(before, dict.fromkeys("abc", "x")) == "3 files of labels edited (a; b; c)"
