"""What all kinds share: a kind is complete, and its helpers leave out what is not known."""

from __future__ import annotations

import pytest
import torch

from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.kind import TargetKind, known_mean, require, without_none
from fitcli.tasks.classify.targets.kinds import TARGET_KINDS


def test_a_kind_that_lacks_something_cannot_be_made() -> None:
    class Unfinished(TargetKind):
        name = "unfinished"
        words = ("unfinished",)

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()  # type: ignore[abstract]


def test_only_kinds_that_name_classes_are_right_or_wrong() -> None:
    number = Target("x", "value", (), outputs=1, scale=(0.0, 1.0))
    for kind in TARGET_KINDS:
        if not kind.names_classes:
            with pytest.raises(NotImplementedError, match="has no classes"):
                kind.correct(number, torch.zeros(1, 1), torch.zeros(1, 1))
            assert kind.weights(number, torch.zeros(3, 1)).tolist() == [1.0]


def test_what_is_not_known_does_not_count() -> None:
    losses = torch.tensor([1.0, float("nan"), 3.0])
    assert float(known_mean(losses, torch.tensor([True, False, True]))) == pytest.approx(4 / 3)
    assert without_none({"a": None, "b": 0.0}) == {"b": 0.0}
    with pytest.raises(ValueError, match="target 'x' of kind 'value' has 1 outputs, not 2"):
        require(Target("x", "value", (), outputs=1), classes=0, outputs=2, scale=0)
