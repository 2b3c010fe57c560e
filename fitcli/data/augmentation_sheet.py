"""Draws a sheet that shows what each kind of augmentation does to the middle of an image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.data.altered_image import AlteredImage
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.image_change import draw_change
from fitcli.data.place import Layout, PlaceRules, draw_place
from fitcli.data.survey import survey_images
from fitcli.distributed.world import Axis
from fitcli.errors import FitError
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.crop import Crop
from fitcli.images.open import create_image
from fitcli.images.read_as import open_as
from fitcli.images.text import draw_text
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.augmentations import KINDS, Augmentations, parse_augmentations

SIDE, DRAWS = 160, 5
"""Side of a picture of the sheet in pixels, and number of draws beside the image itself."""

GAP, LINE = 4, 18
"""Pixels between pictures, and height of the captions above them."""


def write_augmentation_sheet(path: Path, file: Path, text: str | None) -> Augmentations:
    """Write a sheet for an image as a PNG file: a row per kind, and one of all kinds together.

    Args:
        path: The image.
        file: The file to write.
        text: A value of `--augment`; None for all kinds that suit the image, with their usual strengths.

    Returns:
        The kinds that are shown, with their strengths.

    Raises:
        FitError: The image or the text is of no use, or the file cannot be written.
    """
    alone = Dataset(classes=(), train=(Sample(path, 0),), validation=(), fingerprint="")
    preprocessing = survey_images(alone, seed=0).preprocessing
    shown = _suited(preprocessing) if text is None else _parsed(text, preprocessing)
    with open_as(path) as image:
        pixels = augmentation_sheet(image, preprocessing, shown)
    info = ImageInfo(height=pixels.shape[0], width=pixels.shape[1], channels=3, dtype=pixels.dtype, color=True)
    with create_image(file, info) as canvas:
        canvas.write(Window(0, 0, info.height, info.width), pixels)
    return shown


def augmentation_sheet(
    image: ImageReader, preprocessing: Preprocessing, augmentations: Augmentations, seed: int = 0
) -> NDArray[np.uint8]:
    """Return the pixels [height width 3] of a sheet.

    Args:
        image: The image.
        preprocessing: Its pixels.
        augmentations: Kinds that get a row each, with their strengths; all of them are the last row.
        seed: Seed of the draws.
    """
    kinds = [name for name in KINDS if getattr(augmentations, name)]
    rows = [(name, replace(Augmentations(), **{name: getattr(augmentations, name)})) for name in kinds]
    if len(rows) > 1:
        rows.append(("all", augmentations))
    height = (SIDE + LINE + GAP) * len(rows) + GAP
    sheet = np.full((height, (SIDE + GAP) * (DRAWS + 1) + GAP, 3), 255, np.uint8)
    for row, (name, own) in enumerate(rows):
        top = GAP + row * (SIDE + LINE + GAP)
        caption = f"{name} {getattr(own, name):g}" if name in KINDS and name != "flips" else name
        draw_text(sheet, caption, (top, GAP + SIDE + GAP), LINE - 6, (0, 0, 0))
        draw_text(sheet, "image", (top, GAP), LINE - 6, (0, 0, 0))
        for column in range(DRAWS + 1):
            chosen = own if column else Augmentations()
            picture = _visible(_augmented(image, preprocessing, chosen, seed, column), preprocessing)
            left = GAP + column * (SIDE + GAP)
            sheet[top + LINE : top + LINE + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _augmented(
    image: ImageReader, preprocessing: Preprocessing, augmentations: Augmentations, seed: int, number: int
) -> NDArray[np.float64]:
    """Return the middle of the image as training would see it, in units of the pixels."""
    change = draw_change(augmentations, preprocessing.channels, seed, number, 0)
    resized = change.resized(image, min(SIDE, *image.info.size))
    height, width = (min(SIDE, side) for side in resized.info.size)
    top, left = (resized.info.height - height) // 2, (resized.info.width - width) // 2
    shown = Crop(AlteredImage(resized, change, preprocessing), Window(top, left, height, width))
    rules = PlaceRules(
        seed=seed, augment=True, augmentations=augmentations, recolor=not preprocessing.features
    )  # fmt: skip
    place = draw_place(shown, Layout(patch=SIDE, group=1), rules, number, 0, Axis())
    pixels = preprocessing.convert(shown.read(Window(0, 0, height, width)), shown.info).astype(np.float64)
    pixels = np.rot90(pixels, place.quarters)
    pixels = pixels[:, ::-1] if place.mirror else pixels
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    return np.asarray((pixels - mean) * place.gain + place.shift * std + mean)


def _visible(pixels: NDArray[np.float64], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return pixels as red, green and blue: the first three channels, or grey."""
    black, white = preprocessing.range
    colors = pixels[..., :3] if pixels.shape[-1] >= 3 else np.repeat(pixels[..., :1], 3, axis=-1)
    shares = (np.nan_to_num(colors) - black) / (white - black)
    return np.asarray(np.rint(shares.clip(0, 1) * 255).astype(np.uint8))


def _suited(preprocessing: Preprocessing) -> Augmentations:
    """Return all kinds that have a meaning for the pixels, with their usual strengths."""
    chosen = Augmentations()
    for name in KINDS:
        more = replace(chosen, **{name: getattr(parse_augmentations(name), name)})
        if more.unsuited(preprocessing.channels, preprocessing.features) is None:
            chosen = more
    return chosen


def _parsed(text: str, preprocessing: Preprocessing) -> Augmentations:
    try:
        chosen = parse_augmentations(text)
    except ValueError as error:
        raise FitError(f"--augment {error}") from None
    if reason := chosen.unsuited(preprocessing.channels, preprocessing.features):
        raise FitError(f"--augment: {reason}")
    if not any(getattr(chosen, name) for name in KINDS):
        raise FitError("--augment: names nothing to show")
    return chosen
