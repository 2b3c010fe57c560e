"""What all kinds of targets with classes share: classes are matched by name."""

from __future__ import annotations

from pathlib import Path

from fitcli.data.class_names import composed
from fitcli.data.column_kinds import Answer
from fitcli.runs.targets import Target
from fitcli.tasks.class_targets import check_known
from fitcli.tasks.classify.targets.kind import require


def match_by_name(data: Path, own: Target, target: Target, answer: Answer) -> Answer:
    """Return the numbers of classes of a data set as those of the run; see `TargetKind.match`."""
    labels, known = [composed(own.classes[int(number)]) for number in answer], [composed(n) for n in target.classes]
    check_known(data, labels, known)
    return tuple(sorted({known.index(label) for label in labels}))


def require_classes(target: Target) -> None:
    """Raise ValueError if a target does not have one output per class and no scale."""
    require(target, classes=max(1, len(target.classes)), outputs=len(target.classes), scale=0)
