"""The protocol of a task that generates images: what an evaluation of generated images needs from it.

Such a task has a module `image_sampler.py` with `IMAGE_SAMPLER`, and options in `generate_options.py`, see
`registry.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from fitcli.device.runtime import Runtime
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint


class CutSides(NamedTuple):
    """Where a model cuts images.

    Attributes:
        group, patch: (height, width) in pixels. Patches of one pixel have no borders.
    """

    group: tuple[int, int]
    patch: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleRequest:
    """Images to generate.

    Attributes:
        labels: Number of the class of each image; None for an image without a class.
        size: (height, width) in pixels; None for the default of the task.
        seed: Seed of the images. Those of class k have the seed `seed + k`, so that `fit generate --label` makes the
            same ones.
        memory_bytes: Memory limit; None for a share of what is free.
        options: Options of the task that the pixels depend on, see `registry.sampling_options`.
        shrunk: For each image the file of the smaller one that it is made from, which decides its size; empty for
            images that are made from nothing.
    """

    labels: Sequence[int | None]
    size: tuple[int, int] | None
    seed: int
    memory_bytes: int | None
    options: Any
    shrunk: Sequence[Path] = ()


class ImageSampler(Protocol):
    """Generates images as `fit generate` does."""

    def size(self, config: RunConfig, side: int | None) -> tuple[int, int]:
        """Return the (height, width) of images with sides of `side` pixels; None for those of the training."""

    def factor(self, config: RunConfig) -> int:
        """Return the side of an image over that of the smaller one that it is made from; 1 if it needs none."""

    def cuts(self, config: RunConfig) -> CutSides:
        """Return where the model cuts images."""

    def generate(
        self, checkpoint: Checkpoint[Any], runtime: Runtime, request: SampleRequest, folder: Path
    ) -> Iterator[Path]:
        """Write the images to a folder, without loss, and yield the file of each as soon as it is written.

        Images that are made from smaller ones come in their order.

        Raises:
            FitError: The request does not fit the model, or a file cannot be written.
        """


def by_label(labels: Sequence[int | None]) -> list[tuple[int | None, int]]:
    """Return each label with the number of its images, in the order of the labels."""
    known: dict[int | None, int] = {}
    for label in sorted(labels, key=lambda each: -1 if each is None else each):
        known[label] = known.get(label, 0) + 1
    return list(known.items())
