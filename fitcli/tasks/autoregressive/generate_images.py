"""Draws images from an autoregressive checkpoint, or completes images whose upper rows are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.data.class_names import number_of_name
from fitcli.errors import FitError, ImageError
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.missing import avoid_nodata
from fitcli.images.window import Window
from fitcli.memory.retry import RestartableProgress, with_less
from fitcli.patches.levels import from_levels, to_levels
from fitcli.runs.config import RunConfig
from fitcli.runs.finite_output import non_finite
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.decoding.cuda_graphs import CaptureError
from fitcli.tasks.autoregressive.decoding.sample import FREE, INVALID, sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.sequences import SequenceConfig, from_sequence, sequence_of, to_sequence
from models.decoder import FITDecoder
from models.groups import Groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """The images to draw.

    Attributes:
        count: Number of images.
        height, width: Size in pixels; by default that of the training images in whole patches, or the width of `given`.
            A model whose latents have positions by coordinates draws other sizes, too. Beyond the trained size the
            quality is undefined.
        label: Name of a class; by default each image gets the next class in turn, if the model has classes.
        draws: Settings of the drawing of tokens.
        given: Image whose upper rows are kept; the rest is drawn.
        rows: Number of rows of `given` to keep; None for all.
        batch: Number of images that are drawn together.
        graphs: Whether to record the kernels of a token as a CUDA graph and replay it.

    Raises:
        FitError: A number is less than 1.
    """

    count: int = 1
    height: int | None = None
    width: int | None = None
    label: str | None = None
    draws: Draws = field(default_factory=Draws)
    given: ImageReader | None = None
    rows: int | None = None
    batch: int = 16
    graphs: bool = False

    def __post_init__(self) -> None:
        for name in ("count", "height", "width", "rows", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise FitError(f"{name} must be at least 1, not {value}")


def generate_images(
    checkpoint: Checkpoint[FITDecoder], request: Request, advance: Callable[[float], None] = lambda share: None
) -> Iterator[Pixels]:
    """Draw images, batch by batch. The request is checked before the first token is drawn.

    The computation runs in the precision of the weights: to convert them for every token costs more than it saves.

    Args:
        checkpoint: A run of the task "autoregressive".
        request: The images to draw.
        advance: Called with the share of the work that was just done; the shares sum to 1.

    Yields:
        Pixels [height width channels] in the dtype of the training images. Their levels span its range, see
        `from_levels`. Given rows are returned as they are.

    Raises:
        FitError: The model does not have the class or cannot have the size, or CUDA graphs are requested without a CUDA
            device or cannot be recorded; or the model predicts NaN or infinity.
        ImageError: The given image cannot be read or continued.
    """
    sequence, preprocessing = sequence_of(checkpoint.config), checkpoint.config.preprocessing
    size, rows_kept = image_size(request, sequence), _kept_rows(request, checkpoint.config)
    kept = None if rows_kept is None else rows_kept.seen
    labels = _labels(request, checkpoint.config)
    _check_size(size, kept, request, checkpoint, sequence)
    _check_graphs(request, checkpoint)
    rows, columns = (-(-side // patch) for side, patch in zip(size, sequence.patch, strict=True))
    padded = rows * sequence.patch[0], columns * sequence.patch[1]
    known = None
    if kept is not None:
        known = _known_ids(to_levels(kept, sequence.levels, preprocessing.range), padded, sequence)

    groups = sequence.groups(padded)

    def batches() -> Iterator[Pixels]:
        for start in range(0, request.count, request.batch):
            images = range(start, min(start + request.batch, request.count))
            image_labels = [labels[image % len(labels)] for image in images]
            share = len(images) / (rows * columns * request.count)
            report = partial(_advance, advance, share)
            for ids in _draw_in_parts(checkpoint, request, groups, images, image_labels, known, report):
                if (ids == INVALID).any():
                    raise non_finite(checkpoint, "predictions")
                levels = from_sequence(ids, sequence.patch, columns, sequence.order)[: size[0], : size[1]]
                pixels = from_levels(levels, sequence.levels, np.dtype(preprocessing.dtype), preprocessing.range)
                if rows_kept is not None:
                    pixels = avoid_nodata(pixels, rows_kept.nodata)
                    # The levels may be coarser than the pixels of the given image.
                    pixels[: len(rows_kept.kept)] = rows_kept.kept
                yield pixels

    return batches()


def _draw_in_parts(
    checkpoint: Checkpoint[FITDecoder],
    request: Request,
    groups: Groups,
    images: range,
    labels: list[int | None],
    known: Tensor | None,
    advance: Callable[[float], None],
) -> Tensor:
    """Draw the ids [b g n] of a batch of images together; if memory runs out, half of them at a time."""
    progress = RestartableProgress(advance)

    def draw(amount: int) -> Tensor:
        progress.restart()
        drawn = []
        for part in (slice(start, start + amount) for start in range(0, len(images), amount)):
            report = partial(_advance, progress, len(images[part]) / len(images))
            drawn.append(_draw_batch(checkpoint, request, groups, images[part], labels[part], known, report).cpu())
        return torch.cat(drawn)

    return with_less(checkpoint.model.embedding.weight.device, draw, len(images))


def _draw_batch(
    checkpoint: Checkpoint[FITDecoder],
    request: Request,
    groups: Groups,
    images: range,
    labels: list[int | None],
    known: Tensor | None,
    advance: Callable[[int], None],
) -> Tensor:
    """Draw the ids [b g n] of a batch of images, whose labels are all None for a model without classes."""
    sequence = sequence_of(checkpoint.config)
    try:
        return sample(
            checkpoint.model,
            groups,
            [sequence.first(label) for label in labels],
            request.draws,
            None if labels[0] is None else [label for label in labels if label is not None],
            known,
            images,
            advance,
            request.graphs,
        )
    except CaptureError as error:
        raise FitError(f"--cuda-graphs: PyTorch cannot record this here ({error}); leave it out") from None


def _advance(advance: Callable[[float], None], share: float, groups: int) -> None:
    advance(share * groups)


def _check_graphs(request: Request, checkpoint: Checkpoint[FITDecoder]) -> None:
    device = checkpoint.model.embedding.weight.device
    if request.graphs and device.type != "cuda":
        raise FitError(f"--cuda-graphs is for CUDA devices, not for {device.type}; leave it out")


def image_size(request: Request, sequence: SequenceConfig) -> tuple[int, int]:
    """Return the (height, width) in pixels of the images of a request.

    The default size consists of whole patches: training leaves out pixels that do not fill a patch.
    """
    rows, columns = sequence.arrangement(sequence.size)
    height = request.height or rows * sequence.patch[0]
    if request.given is not None:
        return height, request.width or request.given.info.width
    return height, request.width or columns * sequence.patch[1]


class _Rows(NamedTuple):
    """The rows of the given image that are kept.

    Attributes:
        seen: Pixels that the model sees, without missing ones.
        kept: Pixels that are written again.
        nodata: Value of the missing ones among `kept`; None if there is none.
    """

    seen: Pixels
    kept: Pixels
    nodata: float | None


def _kept_rows(request: Request, config: RunConfig) -> _Rows | None:
    """Return the rows of the given image that are kept, converted for the model; None without a given image."""
    image = request.given
    if image is None:
        return None
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    rows = request.rows or image.info.height
    if rows > image.info.height:
        raise ImageError(image.path, f"has {image.info.height} rows, {rows} cannot be kept; give fewer")
    pixels, preprocessing = image.read(Window(0, 0, rows, image.info.width)), config.preprocessing
    kept = preprocessing.convert_to_keep(pixels, image.info)
    return _Rows(preprocessing.convert(pixels, image.info), kept, preprocessing.kept_nodata(image.info))


def _labels(request: Request, config: RunConfig) -> list[int] | list[None]:
    """Return the numbers of the classes that the images get in turn; [None] for a model without classes."""
    if request.label is None:
        return list(range(len(config.classes))) or [None]
    if (number := number_of_name(request.label, config.classes)) is None:
        known = f"it knows {', '.join(config.classes)}" if config.classes else "it was trained without classes"
        raise FitError(f"--label {request.label!r} is no class of the model; {known}")
    return [number]


def _check_size(
    size: tuple[int, int],
    kept: Pixels | None,
    request: Request,
    checkpoint: Checkpoint[FITDecoder],
    sequence: SequenceConfig,
) -> None:
    trained = image_size(Request(), sequence)
    if checkpoint.model.config.latent_positions != "coordinates" and size != trained:
        raise FitError(
            f"this model has a table of positions for images of {trained[1]} x {trained[0]} pixels and cannot draw "
            f"{size[1]} x {size[0]}; leave the size out"
        )
    if kept is None or request.given is None:
        return
    if kept.shape[1] != size[1]:
        raise ImageError(request.given.path, f"is {kept.shape[1]} pixels wide, not {size[1]}; leave the width out")
    if len(kept) >= size[0]:
        raise ImageError(
            request.given.path,
            f"{len(kept)} rows kept leave nothing to draw in an image of {size[0]} rows; "
            "keep fewer rows, or ask for a greater height",
        )


def _known_ids(kept: NDArray[np.uint8], size: tuple[int, int], sequence: SequenceConfig) -> Tensor:
    """Return the ids [g n] of the levels of the kept rows, and `FREE` elsewhere, also within a partly kept patch."""
    levels = np.full((*size, kept.shape[2]), FREE, np.int64)
    levels[: len(kept), : kept.shape[1]] = kept
    return to_sequence(levels, sequence.patch, sequence.order)
