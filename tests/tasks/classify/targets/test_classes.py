"""Classes of a data set become those of a run by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.errors import DataError
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.classes import match_by_name, require_classes

DATA = Path("data.csv")


def test_names_in_another_unicode_form_match() -> None:
    own, run = (Target("x", "multi-label", ("Brot", cheese)) for cheese in ("K\u00e4se", "Ka\u0308se"))
    assert match_by_name(DATA, own, run, (0, 1)) == (0, 1)
    assert match_by_name(DATA, own, Target("x", "multi-label", ("K\u00e4se", "Brot")), (1,)) == (0,)
    with pytest.raises(DataError, match=r"data\.csv: the run has no class 'Brot'; it was trained on a, b"):
        match_by_name(DATA, own, Target("x", "multi-label", ("a", "b")), (0,))


def test_classes_have_an_output_each_and_no_scale() -> None:
    require_classes(Target("x", "multi-label", ("a", "b")))
    for wrong in (
        Target("x", "multi-label", ("a", "b"), outputs=1), Target("x", "multi-label", ("a",), scale=(1.0,)),
        Target("x", "multi-label", (), outputs=2),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="target 'x' of kind 'multi-label' has"):
            require_classes(wrong)
