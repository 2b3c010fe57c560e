"""Scores a model on whole validation images, with the code of `fit segment`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.annotations.class_table import IGNORED
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.labels import open_labels
from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.distributed.world import World
from fitcli.errors import DataError
from fitcli.images.read_as import open_as
from fitcli.patches.cutting import read_patches
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.label_patches import without_missing
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.segment_image import segment_image
from fitcli.tasks.validation import score_by_turns
from models.dense import FITDense, class_counts


class Sums(NamedTuple):
    """Sums over labelled pixels.

    Attributes:
        loss: Sum of the weighted losses of the pixels.
        weight: Sum of the weights of the pixels.
        confusion: Numbers of pixels by class (row) and predicted class (column), [k k+1]; the last column counts those
            in groups that were left out as background. They have no loss.
        losses: Mean loss of each image by its number, of those with a labelled pixel.
    """

    loss: float
    weight: float
    confusion: NDArray[np.int64]
    losses: Mapping[int, float] = {}


def validate(
    checkpoint: Checkpoint[FITDense],
    samples: Sequence[Sample],
    runtime: Runtime,
    bad_images: BadImages,
    world: World,
    settings: EncodingSettings,
    loss: CellLoss,
) -> Sums:
    """Segment images and compare with their labels. Processes take turns, and all get the same sums.

    Args:
        checkpoint: The model.
        samples: The images, one or more; those without labels are left out.
        runtime: Device and precision.
        bad_images: Counter of unusable images.
        world: The processes that share the images.
        settings: Settings with which images are read.
        loss: Loss of the cells.

    Raises:
        TooManyBadImages: More images than allowed are unusable.
        OutOfMemory: An image needs more memory than there is.
        DataError: No image has a labelled pixel.
    """
    places = [number for number, sample in enumerate(samples) if sample.target is not None]
    labelled = [samples[number] for number in places]
    rows = score_by_turns(labelled, bad_images, world, partial(_sums, checkpoint, runtime, settings, loss))
    weight = sum(row[1] for _, row in rows)
    if not weight:
        raise DataError(
            f"{samples[0].path}: neither this nor any other validation image has a labelled pixel that can be used"
        )
    losses = {places[number]: row[0] / row[1] for number, row in rows if row[1]}
    confusion = np.sum([np.array(row[2], np.int64) for _, row in rows], axis=0)
    return Sums(sum(row[0] for _, row in rows), weight, confusion, losses)


def _sums(
    checkpoint: Checkpoint[FITDense],
    runtime: Runtime,
    settings: EncodingSettings,
    loss: CellLoss,
    sample: Sample,
    path: Path,
) -> tuple[float, float, list[list[int]]]:
    """Return the `Sums` of an image as plain numbers, which processes can exchange."""
    config, details = checkpoint.model.config, checkpoint.config.details
    assert isinstance(details, SegmentDetails)
    table, rules = details.table(checkpoint.config.classes), LabelRules(details.elsewhere)
    classes = config.outputs
    total, weight = 0.0, 0.0
    confusion = torch.zeros(classes, classes + 1, dtype=torch.float64)
    with (
        open_as(path, checkpoint.config.preprocessing.read_as) as image,
        open_labels(Path(sample.target), image, table, rules) as labels,
    ):
        grid = PatchGrid(image.info.size, config.patch, config.group)

        def count(places: Sequence[tuple[int, int]]) -> Tensor:
            numbers = read_patches(labels, grid, places, fill=IGNORED)
            numbers = without_missing(numbers, image, grid, places, checkpoint.config.preprocessing)
            return class_counts(numbers, config.cells, config.patch, classes)

        def take(places: list[tuple[int, int]], logits: Tensor) -> None:
            nonlocal total, weight
            counts = count(places)
            total += float(loss.of(logits, counts).sum(dtype=torch.float64))
            weight += float(loss.weighted(counts).sum(dtype=torch.float64))
            predicted = torch.nn.functional.one_hot(logits.argmax(dim=-1).flatten(), classes + 1).double()
            confusion.add_(counts.flatten(0, -2).double().T @ predicted)

        done = segment_image(checkpoint, image, runtime, settings, take, _exact_logits, purpose="validate")
        if len(done.places) < grid.count:
            left_out = sorted(set(grid.coordinates()) - set(done.places))
            for start in range(0, len(left_out), done.plan.handful):
                counts = count(left_out[start : start + done.plan.handful])
                confusion[:, classes] += counts.sum(dim=(0, 1, 2), dtype=torch.float64)
    return total, weight, confusion.round().to(torch.int64).tolist()


def _exact_logits(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def mean_iou(confusion: NDArray[np.int64]) -> tuple[float, list[float | None]]:
    """Return the mean intersection over union of the classes that occur, and that of each class; None if absent.

    Args:
        confusion: Numbers of pixels by class (row) and predicted class (column), [k k+1], see `Sums`.
    """
    hits, true, found = np.diag(confusion), confusion.sum(axis=1), confusion[:, :-1].sum(axis=0)
    each = [
        float(hit / (here + there - hit)) if here else None for hit, here, there in zip(hits, true, found, strict=True)
    ]
    present = [value for value in each if value is not None]
    return sum(present) / max(1, len(present)), each
