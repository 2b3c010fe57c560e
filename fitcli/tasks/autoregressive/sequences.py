"""Turns images into sequences of integer levels for the autoregressive decoder, and back.

Each patch is a group, and its values are the tokens. The groups follow each other row by row ("raster"), or with every
second row from right to left ("snake": neighbours in the sequence are neighbours in the image).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.errors import CheckpointError
from fitcli.patches.cutting import cut, join
from fitcli.patches.group_order import Order, permutation
from fitcli.patches.levels import MOST_LEVELS
from fitcli.runs.config import Agreement, ModelConfig, RunConfig, TaskDetails, with_tuples
from models.checks import ConfigError
from models.config import DecoderConfig
from models.groups import Groups


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceConfig(TaskDetails):
    """The part of config.json that belongs to autoregressive models: how images become sequences of levels.

    Attributes:
        patch: (height, width) of a patch in pixels. A patch is a group of height * width * channels tokens.
        size: (height, width) of the training images, in pixels.
        order: Order of the patches.
        levels: Number of levels of each value, 2 ... 256.
        start: First token of a sequence: "zero" for the token 0, as in the reference; "learned" for an id of its own,
            one per class if the decoder is conditioned on classes.

    Raises:
        ConfigError: A value is impossible.
    """

    task: ClassVar[str] = "autoregressive"
    model_type: ClassVar[type[ModelConfig]] = DecoderConfig

    patch: tuple[int, int]
    size: tuple[int, int]
    order: Order = "raster"
    levels: int = MOST_LEVELS
    start: Literal["zero", "learned"] = "learned"

    def __post_init__(self) -> None:
        for name, sides in (("patch", self.patch), ("size", self.size)):
            if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
                raise ConfigError(f"{name} must be a height and a width of at least 1 pixel, not {sides}")
        if not 2 <= self.levels <= MOST_LEVELS:
            raise ConfigError(f"levels must lie in 2 ... {MOST_LEVELS}, not {self.levels}")
        if self.start not in ("zero", "learned"):
            raise ConfigError(f"a start is 'zero' or 'learned', not {self.start!r}")
        permutation(1, 1, self.order)
        self.arrangement(self.size)

    @property
    def trained_size(self) -> tuple[int, int]:
        """(height, width) of the training images, in pixels."""
        return self.size

    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config that have to be equal."""
        model, classes = config.model, len(config.classes)
        assert isinstance(model, DecoderConfig)
        values = self.patch[0] * self.patch[1] * config.preprocessing.channels
        return [
            Agreement("class names", classes, "classes", model.classes),
            Agreement("values of a patch", values, "tokens", model.tokens),
            Agreement("levels", self.levels, "words", model.vocabulary),
            Agreement("starts", self.starts(classes), "starts", model.starts),
        ]

    def identity(self) -> str:
        """Return the text of this part in the hash of a model."""
        return f"diffusion=None, sequence={self!r}, tasks=()"

    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""
        return {"sequence": dataclasses.asdict(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`."""
        return cls(**with_tuples(document["sequence"]))

    def arrangement(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the number of (rows, columns) of whole patches in an image of (height, width) pixels.

        Raises:
            ConfigError: The image is smaller than a patch.
        """
        rows, columns = size[0] // self.patch[0], size[1] // self.patch[1]
        if not (rows and columns):
            raise ConfigError(
                f"an image of {size[1]} x {size[0]} pixels is smaller than a patch of {self.patch[1]} x {self.patch[0]}"
            )
        return rows, columns

    def groups(self, size: tuple[int, int]) -> Groups:
        """Return the groups of one image of (height, width) pixels, in the order of its sequence."""
        return sequence_groups(*self.arrangement(size), self.order)

    def starts(self, classes: int) -> int:
        """Return how many start ids a decoder with this number of classes has beyond the levels, 0 classes for none.

        See `DecoderConfig.starts`.
        """
        return 0 if self.start == "zero" else max(classes, 1)

    def first(self, label: int | None = None) -> int:
        """Return the id in front of a sequence of a class; None for a model without classes."""
        return 0 if self.start == "zero" else self.levels + (label or 0)


def sequence_of(config: RunConfig) -> SequenceConfig:
    """Return how the images of a run become sequences.

    Raises:
        CheckpointError: The run is of another task.
    """
    if not isinstance(config.details, SequenceConfig):
        raise CheckpointError(f"a run of task {config.task!r} has no tokens; give one of --task autoregressive")
    return config.details


def to_sequence(levels: NDArray[Any], patch: tuple[int, int], order: Order = "raster") -> Tensor:
    """Cut integer levels [height width channels] into a sequence of groups [g n] int64.

    Args:
        levels: Levels of whole patches, see `whole_patches`.
        patch: (height, width) of a patch in pixels; (1, 1) gives the plain raster of pixels.
        order: Order of the patches.

    Raises:
        ValueError: The pixels do not form whole patches.
        ConfigError: The order is unknown.
    """
    groups = cut(levels, patch, (1, 1))[:, 0].long()
    return groups[permutation(levels.shape[0] // patch[0], levels.shape[1] // patch[1], order)]


def from_sequence(sequence: Tensor, patch: tuple[int, int], columns: int, order: Order = "raster") -> NDArray[np.int64]:
    """Turn a sequence [g n] with `columns` patches per row back into levels [height width channels].

    Raises:
        ValueError: The groups do not fill whole rows.
        ConfigError: The order is unknown.
    """
    rows, rest = divmod(len(sequence), columns)
    if rest:
        raise ValueError(f"{len(sequence)} groups do not fill rows of {columns}")
    groups = torch.empty_like(sequence)
    groups[permutation(rows, columns, order)] = sequence
    return join(groups[:, None], patch, (1, 1), columns)


def shift_right(next_ids: Tensor, first: int = 0) -> Tensor:
    """Return the input of the decoder that predicts `next_ids` [g n] of one image: the token before each position.

    The first position of a group gets the last token of the group before. The first group gets `first`, see
    `SequenceConfig.first`.
    """
    flat = next_ids.flatten()
    return torch.cat([flat.new_full((1,), first), flat[:-1]]).reshape(next_ids.shape)


def sequence_groups(rows: int, columns: int, order: Order = "raster") -> Groups:
    """Return the groups of one image of `rows` x `columns` patches, numbered along the sequence."""
    raster = Groups.of_grid(images=1, rows=rows, columns=columns)
    return raster._replace(coordinates=raster.coordinates[permutation(rows, columns, order)])
