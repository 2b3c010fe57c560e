"""Makes run folders of small diffusion models with random weights, and images to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fitcli.images.array_image import ArrayReader
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig, save_config
from fitcli.runs.weights import save_weights
from fitcli.tasks.diffusion.config import DiffusionConfig
from models.build import build
from models.config import DenoiserConfig

PATCH, GROUP = 4, 4
"""Pixels per side of a patch, patches per side of a group: groups of 16 x 16 pixels."""

TRAINED = (32, 32)


def model_config(channels: int = 3, classes: int = 2, **changes: Any) -> DenoiserConfig:
    values = PATCH**2 * channels
    plain = {
        "plan": "(1)1(1)1(1)", "tokens": GROUP**2, "latents": 2, "token_width": 16, "latent_width": 24,
        "token_heads": 2, "latent_heads": 3, "mlp_ratio": 2, "values": values, "out_values": values,
        "condition_width": classes or None, "self_condition": True,
    }  # fmt: skip
    return DenoiserConfig.from_dict(plain | changes)


def make_run(
    folder: Path,
    channels: int = 3,
    dtype: str = "uint8",
    classes: tuple[str, ...] = ("cat", "dog"),
    output_patch: int | None = None,
    **changes: Any,
) -> Path:
    """Write and return a run folder of a random model. `changes` are fields of `DiffusionConfig`."""
    folder.mkdir(parents=True, exist_ok=True)
    values = PATCH**2 * channels
    wider = {"values": 2 * values, "time_features": 1} if changes.get("enlarging") else {}
    config = model_config(channels, len(classes), output_patch=output_patch, **wider)
    model = build(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    mean, std = (0.5, 0.2) if dtype == "float32" else (120.0, 60.0)
    diffusion: dict[str, Any] = {"patch": PATCH, "size": TRAINED} | changes
    save_config(
        folder,
        RunConfig(
            model=config,
            preprocessing=Preprocessing(
                channels=channels,
                dtype=dtype,
                mean=(mean,) * channels,
                std=(std,) * channels,
                limits=(-0.5, 2.0) if dtype == "float32" else None,
            ),
            classes=classes,
            details=DiffusionConfig(**diffusion),
        ),
    )
    save_weights(folder, model)
    return folder


def photograph(height: int, width: int) -> ArrayReader:
    """Return a smooth image of three channels."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 2, columns * 2, 100 + 50 * np.sin(rows / 9)], -1)
    return ArrayReader(pixels.clip(0, 255).astype(np.uint8))
