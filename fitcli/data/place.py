"""Draws the place of a training item: the part of an image that a step sees, and how it is shifted and turned.

A place is a value that follows from the seed, the epoch and the number of the sample alone. Pixels and targets are read
at it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from fitcli.data.augmentation import beyond_margin, hide_patches, mask_margin, turn_groups
from fitcli.data.dataset import Anchors
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.images.base import ImageReader
from fitcli.images.crop import Crop
from fitcli.images.shifted import Shifted
from fitcli.images.window import Window
from fitcli.memory.size_checks import check_pixels
from fitcli.patches.background import foreground
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.patches.group_order import Order, permutation
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.augmentations import USUAL_AUGMENTATIONS, Augmentations
from models.groups import Groups, span

ORIGINS = 64
"""Number of random origins of the grid of a training image, in groups per axis. They train the coordinates of images
with up to this many groups more per side than the training images."""

STREAM, MARGIN_STREAM, TOKEN_STREAM, ANCHOR_STREAM = 2, 5, 6, 7
"""Second words of the seeds of the random numbers of a place, its margin, its hidden patches and its anchor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How a model wants images to be laid out.

    Attributes:
        patch: Side of a patch, in pixels.
        group: Side of a group, in patches.
        order: Order of the groups for a model to which it matters; pixels that do not fill a group are then left out.
            None if the order does not matter; images are then padded to whole groups.
        any_origin: Whether the grid of an augmented image starts anywhere. Otherwise only the grid of a window of a
            larger image does.
    """

    patch: int
    group: int
    order: Order | None = None
    any_origin: bool = True


@dataclass(frozen=True, slots=True)
class BackgroundRule:
    """The rule by which background is left out.

    Attributes:
        threshold: Fraction of the pixel range below which a group is background, see `background.foreground`.
        preprocessing: Pixels that the model is trained on.
    """

    threshold: float
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceRules:
    """The rules by which places are drawn.

    Attributes:
        seed: Seed of all random choices.
        size: Side of the random square windows, in pixels; None for whole images.
        anchored: Probability that the window of an image with anchors is drawn around one.
        augment: Whether images are augmented.
        recolor: Whether augmented images may have changes of brightness and contrast: features have neither.
        augmentations: How they are augmented. `light` is the standard deviation of the change of brightness, in
            standard deviations of the pixels, and of log contrast.
        shift_canvas: Largest shift of an image down and to the right, in pixels.
        token_dropout: Probability in [0, 1) that a patch is hidden.
        hide_equally: Whether groups with equally many patches lose equally many.
        background: Rule by which groups are left out; None to keep all.
    """

    seed: int = 0
    size: int | None = None
    anchored: float = 0.0
    augment: bool = False
    recolor: bool = True
    augmentations: Augmentations = USUAL_AUGMENTATIONS
    shift_canvas: int = 0
    token_dropout: float = 0.0
    hide_equally: bool = True
    background: BackgroundRule | None = None

    def least_side(self, layout: Layout) -> int:
        """Return the side in pixels below which an image is not reduced: it then still fills windows and groups."""
        return max(self.size or 1, layout.patch * (layout.group if layout.order is not None else 1))

    def longest_side(self, side: int) -> int:
        """Return the greatest side of an item, in pixels, of images with a given one."""
        scale = self.augmentations.scale if self.augment else 0.0
        longest = math.ceil(side * (1 + scale))
        return min(longest, self.size or longest) + self.shift_canvas


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The part of an image that a step sees, and how it is turned.

    Attributes:
        window: Window of the image, in pixels of level 0.
        margin: (top, left) shift of the window on its canvas, in pixels.
        grid: Arrangement of groups over the canvas.
        positions: (row, column) of the groups that this process reads, in the order of the model.
        groups: All groups of the item, turned, as the model sees them.
        kept: (row, column) of all groups of the item, over all processes.
        quarters, mirror: Turns by 90 degrees, then a swap of left and right, see `augmentation.turn_patches`.
        gain, shift: Factor and summand of the normalised values.
        showing: (epoch, number of the sample).
    """

    window: Window
    margin: tuple[int, int]
    grid: PatchGrid
    positions: list[tuple[int, int]]
    groups: Groups
    kept: tuple[tuple[int, int], ...] = ()
    quarters: int = 0
    mirror: bool = False
    gain: float = 1.0
    shift: float = 0.0
    showing: tuple[int, int] = (0, 0)

    def canvas(self, image: ImageReader, outside: int | None = None) -> ImageReader:
        """Return the window of an image, shifted by the margin, as an image of its own.

        Args:
            image: The image, or another one of its size.
            outside: Value of the pixels in the margin; None to repeat the edge of the window.
        """
        return _canvas(image, self.window, self.margin, outside)


def draw_place(
    image: ImageReader,
    layout: Layout,
    rules: PlaceRules,
    epoch: int,
    index: int,
    group_share: Axis,
    anchors: Anchors = (),
) -> Place:
    """Draw the place of a sample in an epoch. Reads a small view of the image where background is left out.

    Args:
        image: Open.
        layout: Layout that the model wants.
        rules: Rules of drawing.
        epoch, index: Epoch and number of the sample.
        group_share: The processes that read a part of the groups each, see `models.groups.span`.
        anchors: Those of the sample.

    Raises:
        DataError: The image does not fill one group of a model that needs whole groups.
        ImageError: The image cannot be read, or is too large for the memory of this machine.
    """
    rng = np.random.default_rng([rules.seed, STREAM, epoch, index])
    window = _window(image, layout, rules, rng)
    if anchors and rules.anchored:
        window = _anchored(window, image.info.size, anchors, rules, epoch, index)
    check_pixels(image, (window.height, window.width), "train on windows with --size")
    margin = _margin(rules, epoch, index)
    canvas = _canvas(image, window, margin)
    grid = PatchGrid(canvas.info.size, layout.patch, layout.group)
    positions = _positions(canvas, grid, margin, rules)
    groups, quarters, mirror = mask_margin(groups_of(grid, positions), grid, margin), 0, False
    if rate := rules.token_dropout:
        token_rng = np.random.default_rng([rules.seed, TOKEN_STREAM, epoch, index])
        groups = hide_patches(groups, grid.group**2, rate, token_rng, rules.hide_equally)
    if rules.augment:
        # Drawn even if they are not used, so that what follows does not depend on the flips.
        turn = int(rng.integers(4)), bool(rng.integers(2))
        if rules.augmentations.flips:
            quarters, mirror = turn
            groups = turn_groups(groups, grid, quarters, mirror)
    if layout.order is not None:
        positions, groups = _in_order(positions, groups, layout.order)
    is_part = (window.height, window.width) != image.info.size
    if (rules.augment and layout.any_origin) or (is_part and not layout.any_origin):
        origin = torch.tensor(rng.integers(ORIGINS, size=2).tolist())
        groups = groups._replace(coordinates=groups.coordinates + origin)
    gain, shift = 1.0, 0.0
    if rules.augment and rules.recolor and (light := rules.augmentations.light):
        gain, shift = float(np.exp(rng.normal(0, light))), float(rng.normal(0, light))
    return Place(
        window=window,
        margin=margin,
        grid=grid,
        positions=positions[span(len(positions), group_share.rank, group_share.size)],
        groups=groups,
        kept=tuple(positions),
        quarters=quarters,
        mirror=mirror,
        gain=gain,
        shift=shift,
        showing=(epoch, index),
    )


def too_small(size: tuple[int, int], side: int) -> str:
    """Return the message about an image of (height, width) pixels that does not fill one patch of `side` pixels."""
    return (
        f"{size[1]} x {size[0]} pixels do not fill one patch of {side} x {side}; leave it out, or give a lower --patch"
    )


def _window(image: ImageReader, layout: Layout, rules: PlaceRules, rng: np.random.Generator) -> Window:
    """Return a random window or the whole image, cropped to whole groups for a model that needs them.

    Raises:
        DataError: There is not even one whole group.
    """
    (height, width), size = image.info.size, rules.size
    top, left = 0, 0
    if size is not None:
        top, left = (int(rng.integers(max(0, side - size) + 1)) for side in (height, width))
        height, width = min(size, height), min(size, width)
    if layout.order is not None:
        side = layout.patch * layout.group
        if min(height, width) < side:
            raise DataError(f"{image.path}: {too_small((height, width), side)}")
        height, width = height // side * side, width // side * side
    return Window(top, left, height, width)


def _anchored(
    window: Window, size: tuple[int, int], anchors: Anchors, rules: PlaceRules, epoch: int, index: int
) -> Window:
    """Return a window that is moved to an anchor, with the probability of the rules; else the window itself.

    All kinds of anchors are equally likely, then all anchors of the kind, then all windows of the image that hold it.
    """
    rng = np.random.default_rng([rules.seed, ANCHOR_STREAM, epoch, index])
    if rng.random() >= rules.anchored:
        return window
    places = anchors[int(rng.integers(len(anchors)))]
    row, column = places[int(rng.integers(len(places)))].tolist()
    top = _start(row, window.height, size[0], rng)
    return replace(window, top=top, left=_start(column, window.width, size[1], rng))


def _start(place: int, side: int, whole: int, rng: np.random.Generator) -> int:
    """Return a random start of a stretch of `side` out of `whole` pixels that holds a place."""
    # The image may have become smaller.
    place = min(place, whole - 1)
    return int(rng.integers(max(0, place - side + 1), min(place, whole - side) + 1))


def _canvas(image: ImageReader, window: Window, margin: tuple[int, int], outside: int | None = None) -> ImageReader:
    crop = Crop(image, window)
    return Shifted(crop, *margin, outside) if any(margin) else crop


def _margin(rules: PlaceRules, epoch: int, index: int) -> tuple[int, int]:
    rng = np.random.default_rng([rules.seed, MARGIN_STREAM, epoch, index])
    top, left = rng.integers(rules.shift_canvas + 1, size=2).tolist()
    return top, left


def _positions(
    canvas: ImageReader, grid: PatchGrid, margin: tuple[int, int], rules: PlaceRules
) -> list[tuple[int, int]]:
    """Return the groups that hold pixels of the image and are no background; if all are background, all with pixels."""
    every = list(grid.coordinates())
    rule = rules.background
    kept = every if rule is None else foreground(canvas, grid, rule.threshold, rule.preprocessing)
    return beyond_margin(kept, grid, margin) or beyond_margin(every, grid, margin)


def _in_order(positions: list[tuple[int, int]], groups: Groups, order: Order) -> tuple[list[tuple[int, int]], Groups]:
    """Sort all groups of an image into a sequence, and number them along it."""
    row, column = (groups.coordinates - groups.coordinates.amin(dim=0)).unbind(-1)
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    chosen = torch.argsort(row * columns + column)[permutation(rows, columns, order)]
    ordered = groups._replace(
        coordinates=groups.coordinates[chosen],
        number=torch.arange(len(chosen)),
        mask=None if groups.mask is None else groups.mask[chosen],
    )
    return [positions[number] for number in chosen.tolist()], ordered
