"""Finds the objects of an open image of any size, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.files.wording import counted
from fitcli.images.base import ImageReader
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.detect.candidates import CandidateFinder, most_candidates
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import DetectDetails
from fitcli.tasks.detect.detections import CandidateCollector, Detections
from fitcli.tasks.detect.sample_pass import DETECTING
from fitcli.tasks.encoding.dense_pass import DensePass, Places, run_dense_pass
from fitcli.tasks.encoding.encode import EncodingSettings
from models.dense import FITDense

DEFAULTS = EncodingSettings()

BYTES_PER_GROUP = 4096
"""Memory that the candidates of a group take at the end of a pass: a hundred candidates, sorted and compared."""


class DetectedImage(NamedTuple):
    """The objects of an image.

    Attributes:
        found: All objects with a score above `candidates.FLOOR`.
        done: The pass.
    """

    found: Detections
    done: DensePass


def detect_image(
    checkpoint: Checkpoint[FITDense],
    image: ImageReader,
    runtime: Runtime,
    settings: EncodingSettings = DEFAULTS,
    advance: Callable[[float], None] = lambda share: None,
    finish_bytes: int = 0,
    purpose: str = "detect",
    warns: bool = True,
) -> DetectedImage:
    """Find the objects of an image, reading it a few groups at a time.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image; level 0 is read once, and once more to find background if the image has no smaller level.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        advance: Called with the share of the work that was just done; the shares sum to 1.
        finish_bytes: Memory to reserve for what follows the pass.
        purpose: Use of the result; a state is continued only for the same purpose.
        warns: Whether to warn of groups with more candidates than are kept.

    Raises:
        ImageError, OutOfMemory, FitError, NonFiniteOutput: See `run_dense_pass`.
    """
    finder = candidate_finder(checkpoint)
    collector = candidate_collector(checkpoint)

    def take(places: Places, tables: Tensor) -> None:
        collector.put(places, tables.numpy())

    groups = finder.layout.grid(image.info.size).count
    done = run_dense_pass(
        checkpoint,
        image,
        runtime,
        settings,
        passes=DETECTING,
        keep=finder.find,
        take=take,
        purpose=purpose,
        advance=advance,
        finish_bytes=finish_bytes + BYTES_PER_GROUP * groups,
    )
    if collector.full and warns:
        console.warning(
            f"{image.path}: {counted(collector.full, 'group has', 'groups have')} more than "
            f"{most_candidates(finder.layout.side):,} candidates, of which the best were kept; the "
            "model is not trained, or damaged"
        )
    return DetectedImage(collector.detections(image.info.size), done)


def candidate_finder(checkpoint: Checkpoint[FITDense]) -> CandidateFinder:
    """Return the finder of candidates of a model."""
    details, model = checkpoint.config.details, checkpoint.model.config
    assert isinstance(details, DetectDetails)
    return CandidateFinder(CellLayout.of(model), len(checkpoint.config.classes), details.half_side(model.cell))


def candidate_collector(checkpoint: Checkpoint[FITDense]) -> CandidateCollector:
    """Return an empty collector of the candidates of a model."""
    details = checkpoint.config.details
    assert isinstance(details, DetectDetails)
    return CandidateCollector(CellLayout.of(checkpoint.model.config), details.one_per_place)
