"""Makes small autoregressive checkpoints of grey images, with random weights in float64."""

from __future__ import annotations

from typing import Any

import torch
from support.batches import decoder_config, live

from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from models.config import DecoderConfig
from models.decoder import FITDecoder

CLASSES = ("bird", "cat", "dog")


def checkpoint(
    levels: int = 256,
    classes: tuple[str, ...] = (),
    dtype: str = "uint8",
    patch: tuple[int, int] = (4, 2),
    size: tuple[int, int] = (8, 6),
    limits: tuple[float, float] | None = None,
    **changes: Any,
) -> Checkpoint[FITDecoder]:
    sequence = SequenceConfig(patch=patch, size=size, levels=levels, order="snake")
    settings: dict[str, Any] = {
        "plan": "(1)1(1)", "tokens": patch[0] * patch[1], "latents": 2, "token_width": 16, "latent_width": 24,
        "token_heads": 2, "latent_heads": 3, "causal": "tokens", "token_positions": "sincos", "vocabulary": levels,
        "starts": sequence.starts(len(classes)), "classes": len(classes),
    }  # fmt: skip
    model = live(DecoderConfig(**settings | changes))
    pixels = Preprocessing(channels=1, dtype=dtype, mean=(0.0,), std=(1.0,), limits=limits)
    config = RunConfig(model=model.config, preprocessing=pixels, classes=classes, details=sequence)
    return Checkpoint(model, config)


def decoder(classes: int = 0, dtype: torch.dtype = torch.float64, **changes: Any) -> FITDecoder:
    """Return a decoder of `support.batches` with learned starts. `changes` are fields of its config."""
    model: FITDecoder = live(decoder_config(classes=classes, starts=max(classes, 1), **changes), dtype)
    return model
