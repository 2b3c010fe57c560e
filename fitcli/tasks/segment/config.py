"""The part of config.json that belongs to models of `segment`: what label images mean. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from fitcli.annotations.class_table import ClassTable, Color
from fitcli.errors import DataError
from fitcli.runs.config import Agreement, ModelConfig, RunConfig, TaskDetails
from models.config import DenseConfig

LABELS = "labels"
"""Key of this part in config.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentDetails(TaskDetails):
    """Details of a model that names the class of every place.

    Attributes:
        values: Value of each class in label images.
        colors: (red, green, blue) of each class in 0 ... 255; None for a class whose labels have no colour.
        elsewhere: Class of what no polygon covers; None if that is ignored.
        weights: Weight of each class in the loss.
    """

    task: ClassVar[str] = "segment"
    model_type: ClassVar[type[ModelConfig]] = DenseConfig

    values: tuple[int, ...]
    colors: tuple[Color | None, ...]
    elsewhere: str | None = None
    weights: tuple[float, ...]

    def table(self, classes: tuple[str, ...]) -> ClassTable:
        """Return the classes of a run as label images know them."""
        return ClassTable(classes, self.values, self.colors)

    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config that have to be equal."""
        model, count = config.model, len(config.classes)
        assert isinstance(model, DenseConfig)
        return [
            Agreement("class names", count, "outputs per cell", model.outputs),
            Agreement("values of labels", len(self.values), "classes", count),
            Agreement("colours", len(self.colors), "classes", count),
            Agreement("class weights", len(self.weights), "classes", count),
            Agreement("channels of pixels", config.preprocessing.channels, "channels", model.channels),
        ]

    def identity(self) -> str:
        """Return the text of this part in the hash of a model: what decides its answers."""
        return f"values={self.values!r}"

    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""
        colors = [None if color is None else list(color) for color in self.colors]
        return {
            LABELS: {
                "values": list(self.values),
                "colors": colors,
                "elsewhere": self.elsewhere,
                "weights": list(self.weights),
            }
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`."""
        labels = document[LABELS]
        details = cls(
            values=tuple(map(_whole, labels["values"])),
            colors=tuple(None if color is None else _color(color) for color in labels["colors"]),
            elsewhere=labels["elsewhere"],
            weights=tuple(map(_weight, labels["weights"])),
        )
        names = tuple(str(name) for name in document["classes"])
        try:
            details.table(names)
        except DataError as error:
            raise ValueError(str(error)) from None
        if details.elsewhere is not None and details.elsewhere not in names:
            raise ValueError(f"{details.elsewhere!r} is no class")
        return details


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _weight(value: Any) -> float:
    weight = float(value)
    if not 0 < weight < math.inf:
        raise ValueError(f"{value!r} is no weight of a class")
    return weight


def _color(values: Any) -> Color:
    red, green, blue = map(_whole, values)
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ValueError(f"{values} is no colour")
    return red, green, blue
