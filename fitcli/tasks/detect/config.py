"""The part of config.json that belongs to models of `detect`: what an object is. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from fitcli.runs.config import Agreement, ModelConfig, RunConfig, TaskDetails
from models.config import DenseConfig

OBJECTS = "objects"
"""Key of this part in config.json."""

SIDES = 4
"""Values of a cell beside its classes: the distances to the sides of a box."""

UNDECIDED = 0.3
"""Threshold of a model that was not validated."""

THRESHOLD = "threshold"
"""Name of the score of a validation, and of the decision that follows from it."""

ONE_PER_PLACE = "one_per_place"
"""Name of the choice and of its entry in config.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectDetails(TaskDetails):
    """Details of a model that finds objects.

    Attributes:
        side: Typical side of a box, in pixels; 0 if objects are points.
        threshold: Least score of an object that `fit detect` reports: of the best F1 in validation.
        one_per_place: Whether a place has one object, of the best class; otherwise it may have one of every class.
    """

    task: ClassVar[str] = "detect"
    model_type: ClassVar[type[ModelConfig]] = DenseConfig

    side: float
    threshold: float = UNDECIDED
    one_per_place: bool = False

    @property
    def are_points(self) -> bool:
        """Whether objects are points; otherwise they are boxes."""
        return self.side == 0

    def outputs(self, classes: int) -> int:
        """Return the values per cell of a model of some classes."""
        return classes + (0 if self.are_points else SIDES)

    def half_side(self, cell: int) -> float:
        """Return half of the typical side, in cells of so many pixels."""
        return self.side / 2 / cell

    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config that have to be equal."""
        model = config.model
        assert isinstance(model, DenseConfig)
        return [
            Agreement("values of its classes and sides", self.outputs(len(config.classes)), "outputs", model.outputs),
            Agreement("channels of pixels", config.preprocessing.channels, "channels", model.channels),
        ]

    def identity(self) -> str:
        """Return the text of this part in the hash of a model: what decides its candidates."""
        return f"side={self.side!r}"

    def with_decisions(self, decisions: Mapping[str, Any]) -> Self:
        """Return these details with the threshold that a validation chose, or that of a model without one."""
        return replace(self, threshold=decisions.get(THRESHOLD, UNDECIDED))

    def chosen(self, choices: Mapping[str, Any]) -> Self:
        """Return these details with what a user chooses: whether a place has one object."""
        return replace(self, one_per_place=choices.get(ONE_PER_PLACE, self.one_per_place))

    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""
        entries = {"kind": "points" if self.are_points else "boxes", "side": self.side, THRESHOLD: self.threshold}
        return {OBJECTS: entries | ({ONE_PER_PLACE: True} if self.one_per_place else {})}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`."""
        entries = document[OBJECTS]
        side, threshold = float(entries["side"]), float(entries[THRESHOLD])
        if not 0 <= side < math.inf or (entries["kind"] == "points") != (side == 0):
            raise ValueError(f"{entries['kind']!r} of {side} pixels are no objects")
        if not 0 <= threshold <= 1:
            raise ValueError(f"{threshold} is no threshold")
        # Runs of earlier versions have no such entry.
        one_per_place = entries.get(ONE_PER_PLACE, False)
        if not isinstance(one_per_place, bool):
            raise ValueError(f"{ONE_PER_PLACE} is {one_per_place!r}, neither true nor false")
        return cls(side=side, threshold=threshold, one_per_place=one_per_place)
