"""Small models that name the class of every cell, and what they find in an image that is computed at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.pictures import save
from torch import Tensor, nn

from fitcli.annotations.class_table import IGNORED
from fitcli.patches.cutting import groups_of, normalize, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.segment.config import SegmentDetails
from models.build import build
from models.config import DenseConfig
from models.dense import FITDense

NAMES = ("background", "iron", "wood")
VALUES = (0, 7, 200)
PATCH, GROUP, CELLS = 4, 3, 2
CELL, GROUP_PIXELS = PATCH // CELLS, PATCH * GROUP
MODEL: dict[str, Any] = {
    "plan": "(1)1(1)", "tokens": GROUP**2, "latents": 2, "token_width": 12, "latent_width": 16, "token_heads": 2,
    "latent_heads": 4, "patch": PATCH, "channels": 3, "cells": CELLS, "outputs": len(NAMES),
}  # fmt: skip
PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))


def checkpoint(preprocessing: Preprocessing = PIXELS, in_float64: bool = True, **changes: Any) -> Checkpoint[FITDense]:
    """Return a model with random weights; in float64, equal classes are equal in every way of computing them."""
    config = DenseConfig.from_dict(MODEL | {"channels": preprocessing.channels} | changes)
    model: Any = build(config, seed=3).eval().requires_grad_(False)
    # Fresh parameters are zero in places, which would hide mistakes.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    if in_float64:
        model.double()
        for module in model.modules():
            if any(True for _ in module.parameters(recurse=False)):
                module.register_forward_pre_hook(_cast)
    details = SegmentDetails(values=VALUES, colors=(None,) * len(NAMES), weights=(1.0,) * len(NAMES))
    return Checkpoint(model, RunConfig(model=config, preprocessing=preprocessing, classes=NAMES, details=details))


def _cast(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments)


def picture(size: tuple[int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    """Return noise whose brightness changes over the image, in 3 channels."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.linspace(0, 120, size[0]), np.linspace(0, 60, size[1]))
    return (slope[..., None] + rng.integers(0, 70, (*size, 3))).astype(np.uint8)


def logits_of_pixels(
    checkpoint: Checkpoint[FITDense],
    pixels: np.ndarray[Any, Any],
    left_out: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]
) -> np.ndarray[Any, Any]:
    """Return the logits [height width k] of the forward pass of the model, pixel by pixel; NaN in groups left out."""
    config, (height, width) = checkpoint.model.config, pixels.shape[:2]
    grid = PatchGrid((height, width), config.patch, config.group)
    places = [place for place in grid.coordinates() if place not in left_out]
    chosen = [row * grid.columns + column for row, column in places]
    mean, std = (
        torch.tensor(each) for each in (checkpoint.config.preprocessing.mean, checkpoint.config.preprocessing.std)
    )
    patches = normalize(to_patches(pixels, grid)[chosen], mean, std)
    values = checkpoint.model(patches, groups_of(grid, places)).detach().double().numpy()
    everywhere = np.full((grid.count, config.tokens, config.cells**2, config.outputs), np.nan)
    everywhere[chosen] = values.reshape(len(chosen), config.tokens, config.cells**2, config.outputs)
    y, x = np.indices((height, width))
    side, cell = config.patch * config.group, config.patch // config.cells
    group = y // side * grid.columns + x // side
    patch = y % side // config.patch * config.group + x % side // config.patch
    within = y % config.patch // cell * config.cells + x % config.patch // cell
    return everywhere[group, patch, within]


def labels_of(size: tuple[int, int], seed: int = 0, ignored: float = 0.2) -> np.ndarray[Any, Any]:
    """Return class numbers [height width], some of them `IGNORED`."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, len(NAMES), size).astype(np.uint8)
    return np.where(rng.random(size) < ignored, np.uint8(IGNORED), classes)


def save_labels(path: Path, classes: np.ndarray[Any, Any]) -> Path:
    """Write class numbers as the values of a label image; return its path."""
    values = np.full(256, IGNORED, np.uint8)
    values[: len(VALUES)] = VALUES
    return save(path, values[classes][..., None])
