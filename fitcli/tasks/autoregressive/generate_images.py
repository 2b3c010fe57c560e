"""Images from an autoregressive checkpoint: pixels to levels, sequences, and back; upper parts completed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fitcli.errors import FitError, ImageError
from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.window import Window
from fitcli.patches.levels import from_levels, to_levels
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.decoding.cuda_graphs import CaptureError
from fitcli.tasks.autoregressive.decoding.sample import FREE, sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.next_token import sequence_of
from fitcli.tasks.autoregressive.sequences import SequenceConfig, from_sequence, to_sequence
from models.decoder import FITDecoder


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What images are asked for.

    Attributes:
        count: How many.
        height, width: In pixels; by default those of the training images, in whole patches, or the width of `given`. A
            model trained at one size draws another one as well where its latents go by coordinates: what lies beyond
            the trained size it has never seen, and what looks right there is luck.
        label: Name of the class; by default all classes in turn, where the model has classes.
        draws: How tokens are drawn.
        given: An image whose upper rows are kept, and the rest is drawn.
        rows: How many of its rows; all where None.
        batch: Images that are drawn together.
        graphs: Record what is launched for a value, and replay it: on a CUDA device.
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
    """Draw images, in batches; what can be wrong is found before the first token is drawn.

    Computes in the precision of the weights: converting them for every token would cost more than it saves.

    Args:
        checkpoint: Of the task "autoregressive".
        request: What is asked for.
        advance: Told the share of the work that was just done; the shares sum to 1.

    Yields:
        Pixels [height width channels] in the dtype of the training images. Their levels span its range, see
        `from_levels`; rows that were given are as given.

    Raises:
        FitError: A class that the model does not know, or a size that it cannot have. Graphs where the model is on no
            CUDA device, or where they cannot be recorded.
        ImageError: The given image cannot be read or continued.
    """
    config, sequence = checkpoint.config, sequence_of(checkpoint.config)
    expected = config.preprocessing
    size, kept = image_size(request, sequence), _kept(request, config)
    labels = _labels(request, config)
    _check_size(size, kept, request, checkpoint, sequence)
    _check_graphs(request, checkpoint)
    rows, columns = (-(-side // patch) for side, patch in zip(size, sequence.patch, strict=True))
    padded = rows * sequence.patch[0], columns * sequence.patch[1]
    known = None
    if kept is not None:
        known = _known(to_levels(kept, sequence.levels, expected.range), padded, sequence)

    def batches() -> Iterator[Pixels]:
        for start in range(0, request.count, request.batch):
            images = range(start, min(start + request.batch, request.count))
            chosen = [labels[image % len(labels)] for image in images]
            try:
                drawn = sample(
                    checkpoint.model,
                    sequence.groups(padded),
                    [sequence.first(label) for label in chosen],
                    request.draws,
                    None if chosen[0] is None else [label for label in chosen if label is not None],
                    known,
                    images,
                    partial(_advance, advance, len(images) / (rows * columns * request.count)),
                    request.graphs,
                )
            except CaptureError as error:
                raise FitError(f"--cuda-graphs: PyTorch cannot record this here ({error}); leave it out") from None
            for one in drawn.cpu():
                levels = from_sequence(one, sequence.patch, columns, sequence.order)[: size[0], : size[1]]
                pixels = from_levels(levels, sequence.levels, np.dtype(expected.dtype), expected.range)
                if kept is not None:
                    # Fewer levels than the image has would change it.
                    pixels[: len(kept)] = kept
                yield pixels

    return batches()


def _check_graphs(request: Request, checkpoint: Checkpoint[FITDecoder]) -> None:
    device = checkpoint.model.embedding.weight.device
    if request.graphs and device.type != "cuda":
        raise FitError(f"--cuda-graphs is for CUDA devices, not for {device.type}; leave it out")


def _advance(advance: Callable[[float], None], share: float, groups: int) -> None:
    advance(share * groups)


def image_info(checkpoint: Checkpoint[FITDecoder], pixels: Pixels) -> ImageInfo:
    """What `create_image` has to know to write generated pixels."""
    height, width, channels = pixels.shape
    return ImageInfo(
        height=height,
        width=width,
        channels=channels,
        dtype=pixels.dtype,
        color=channels == 3,
        mpp=checkpoint.config.preprocessing.mpp,
    )


def image_size(request: Request, sequence: SequenceConfig) -> tuple[int, int]:
    """(height, width) in pixels of what is asked for.

    Training leaves out what does not fill a patch, and so does the default.
    """
    rows, columns = sequence.arrangement(sequence.size)
    height = request.height or rows * sequence.patch[0]
    if request.given is not None:
        return height, request.width or request.given.info.width
    return height, request.width or columns * sequence.patch[1]


def _kept(request: Request, config: RunConfig) -> Pixels | None:
    """The rows of the given image that are kept, as the model knows pixels."""
    image = request.given
    if image is None:
        return None
    if (reason := config.preprocessing.mismatch(image.info)) is not None:
        raise ImageError(image.path, reason)
    rows = request.rows or image.info.height
    if rows > image.info.height:
        raise ImageError(image.path, f"has {image.info.height} rows, {rows} cannot be kept; give fewer")
    return config.preprocessing.convert(image.read(Window(0, 0, rows, image.info.width)), image.info)


def _labels(request: Request, config: RunConfig) -> list[int] | list[None]:
    """Of the images, in turn."""
    if request.label is None:
        return list(range(len(config.classes))) or [None]
    if request.label not in config.classes:
        known = f"it knows {', '.join(config.classes)}" if config.classes else "it was trained without classes"
        raise FitError(f"--label {request.label!r} is no class of the model; {known}")
    return [config.classes.index(request.label)]


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
            f"this model has a table of positions for images of {trained[1]} x {trained[0]} pixels and draws no "
            f"others, like {size[1]} x {size[0]}; leave the size out"
        )
    if kept is None or request.given is None:
        return
    if kept.shape[1] != size[1]:
        raise ImageError(
            request.given.path, f"is {kept.shape[1]} pixels wide, not {size[1]} as asked; leave the width out"
        )
    if len(kept) >= size[0]:
        raise ImageError(
            request.given.path,
            f"{len(kept)} rows kept leave nothing to draw in an image of {size[0]} rows; "
            "keep fewer rows, or ask for a greater height",
        )


def _known(kept: NDArray[np.uint8], size: tuple[int, int], sequence: SequenceConfig) -> Tensor:
    """The ids of the rows that are kept [g n], free elsewhere: also in a row of patches that they fill in part."""
    levels = np.full((*size, kept.shape[2]), FREE, np.int64)
    levels[: len(kept), : kept.shape[1]] = kept
    return to_sequence(levels, sequence.patch, sequence.order)
