"""Scores a model on whole validation images, with the code of `fit detect`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fitcli.annotations.objects.placed_objects import PlacedObjects, place_objects
from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.distributed.world import World
from fitcli.errors import DataError
from fitcli.images.base import ImageReader
from fitcli.images.read_as import open_as
from fitcli.images.window import Window
from fitcli.patches.cutting import read_marked_patches
from fitcli.patches.grid import PatchGrid
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.detect.average_precision import best_threshold
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import UNDECIDED
from fitcli.tasks.detect.detect_image import candidate_collector, candidate_finder
from fitcli.tasks.detect.detection_scores import ImageMatches, class_precisions, counts_at, pooled
from fitcli.tasks.detect.draw_targets import draw_cells
from fitcli.tasks.detect.loss import DetectionLoss
from fitcli.tasks.detect.object_reader import (
    CellTargets,
    counted_cells,
    missing_cells,
    near_objects,
    targets_of,
)
from fitcli.tasks.detect.sample_pass import DETECTING
from fitcli.tasks.encoding.dense_pass import Places, run_dense_pass
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.validation import score_by_turns
from models.dense import FITDense


class ValidationScores(NamedTuple):
    """Scores over the validation images.

    Attributes:
        loss: Mean loss, over objects as in training.
        ap, ap50: Mean average precision over the classes: over all thresholds of overlap, and by the first.
        f1: F1 over all classes at the threshold.
        threshold: Least score of the found objects with the greatest F1.
        errors: Number of false and missed objects of each image at this threshold, by its number.
    """

    loss: float
    ap: float
    ap50: float
    f1: float
    threshold: float
    errors: Mapping[int, float] = {}


def validate(
    checkpoint: Checkpoint[FITDense],
    samples: Sequence[Sample],
    runtime: Runtime,
    bad_images: BadImages,
    world: World,
    settings: EncodingSettings,
    loss: DetectionLoss,
) -> ValidationScores:
    """Find the objects of images and compare with the true ones. Processes take turns, and all get the same scores.

    Args:
        checkpoint: The model.
        samples: The images, one or more; those without annotations are left out.
        runtime: Device and precision.
        bad_images: Counter of unusable images.
        world: The processes that share the images.
        settings: Settings with which images are read.
        loss: Loss of the cells.

    Raises:
        TooManyBadImages: More images than allowed are unusable.
        OutOfMemory: An image needs more memory than there is.
        DataError: Nothing counts in any image.
    """
    places = [number for number, sample in enumerate(samples) if sample.target is not None]
    annotated = [samples[number] for number in places]
    rows = score_by_turns(annotated, bad_images, world, partial(_score, checkpoint, runtime, settings, loss))
    weight = sum(row[1] for _, row in rows)
    if not weight:
        raise DataError(f"{samples[0].path}: nothing counts in this or any other validation image that can be used")
    matches = pooled([ImageMatches.of_row(row[2]) for _, row in rows])
    precisions = class_precisions(matches, len(checkpoint.config.classes))
    known = ~np.isnan(precisions[:, 0])
    ap, ap50 = (float(each.mean()) if known.any() else 0.0 for each in (precisions[known], precisions[known, 0]))
    best = best_threshold(matches.scores, matches.kinds[:, 0], len(matches.true_numbers), UNDECIDED)
    counts = {places[number]: counts_at(ImageMatches.of_row(row[2]).matches, best.threshold) for number, row in rows}
    errors = {number: float(own.found + own.true - 2 * own.right) for number, own in counts.items()}
    return ValidationScores(sum(row[0] for _, row in rows) / weight, ap, ap50, best.f1, best.threshold, errors)


def _score(
    checkpoint: Checkpoint[FITDense],
    runtime: Runtime,
    settings: EncodingSettings,
    loss: DetectionLoss,
    sample: Sample,
    path: Path,
) -> tuple[float, float, list[float]]:
    """Return the sum and the weight of the loss of an image, and its matches as numbers."""
    config, finder = checkpoint.config, candidate_finder(checkpoint)
    collector, total, weight = candidate_collector(checkpoint), 0.0, 0.0
    with open_as(path, config.preprocessing.read_as) as image:
        objects = place_objects(sample.target, image, config.classes)
        grid = finder.layout.grid(image.info.size)

        def take(places: Places, values: Tensor) -> None:
            nonlocal total, weight
            targets = image_targets(objects, finder.layout, image, grid, places, config)
            truth = targets.part(slice(0, len(places)))
            total += float(loss.of(values.flatten(1, 2), truth).sum(dtype=torch.float64))
            weight += targets.weight()
            collector.put(places, finder.find(values, places, grid).numpy())

        run_dense_pass(
            checkpoint,
            image,
            runtime,
            settings,
            passes=DETECTING,
            keep=lambda values, places, grid: values.to(torch.promote_types(values.dtype, torch.float32)),
            take=take,
            purpose="validate",
        )
        found = collector.detections(image.info.size)
    return total, weight, ImageMatches.of(found, objects, config).as_row()


def image_targets(
    objects: PlacedObjects,
    layout: CellLayout,
    image: ImageReader,
    grid: PatchGrid,
    places: Places,
    config: RunConfig,
) -> CellTargets:
    """Return the targets of groups of a whole image."""
    windows = [grid.window(*place) for place in places]
    top, left = min(each.top for each in windows), min(each.left for each in windows)
    bottom, right = max(each.bottom for each in windows), max(each.right for each in windows)
    near = near_objects(objects, Window(top, left, bottom - top, right - left), layout)
    classes, shape = len(config.classes), (grid.rows, grid.columns)
    drawn = draw_cells(objects.boxes[near], objects.numbers[near], layout, shape, places, classes)
    counted = counted_cells(objects, layout, grid, places, Window(0, 0, *image.info.size))
    if image.info.nodata is not None or image.info.dtype.kind == "f":
        _, missing = read_marked_patches(image, grid, places, config.preprocessing)
        counted &= True if missing is None else ~missing_cells(missing, layout)
    return targets_of(drawn, counted, classes)
