"""Runs models with their inputs, as streamed passes and as forward passes."""

from __future__ import annotations

from pathlib import Path

import torch
from support.batches import CONFIGS, grid, live
from support.golden_case import Case, fold
from support.golden_case import groups_of as golden_groups
from support.golden_models import ENCODER_NAMES, build_decoder, build_denoiser, import_weights, trunk_settings
from torch import Tensor

from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.tasks.autoregressive.stream import stream_decoder
from fitcli.tasks.diffusion.stream import stream_denoiser
from fitcli.tasks.encoding.stream import stream_encoder
from models.build import build
from models.config import EncoderConfig
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITClassifier, FITEncoder
from models.groups import Groups

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
NETWORKS = sorted(path.stem for path in GOLDEN.glob("fit_*.npz"))

LAYOUTS = {
    "whole": Groups.of_grid(images=1, rows=3, columns=2),
    "one group": Groups.of_grid(images=1, rows=1, columns=1),
    "padded": groups_of(grid(7, 13)),
    "left out": groups_of(grid(15, 10), [(0, 1), (1, 0), (2, 2), (3, 0), (3, 2)]),
}
"""The groups of one image."""


class Kept:
    """A sink that keeps the values of all slices."""

    def __init__(self) -> None:
        self.parts: dict[int, Tensor] = {}

    def __call__(self, part: slice, values: Tensor) -> None:
        self.parts[part.start] = values.clone()

    @property
    def whole(self) -> Tensor:
        return torch.cat([self.parts[start] for start in sorted(self.parts)])


def streamed(
    model: object, groups: Groups, inputs: list[Tensor], how: Streaming, tokens: Kept | None = None
) -> list[Tensor]:
    """Run a streamed pass. Return the tokens (predictions), then the latents, unless the model is a decoder."""
    tokens = tokens or Kept()
    if isinstance(model, FITDecoder):
        stream_decoder(model, groups, lambda part: inputs[0][part], tokens, how, *inputs[1:])
        return [tokens.whole]
    if isinstance(model, FITDenoiser):
        patches, previous, level, condition = inputs
        latents = stream_denoiser(model, groups, lambda part: patches[part], level, tokens, how, condition, previous)
        return [tokens.whole, latents]
    assert isinstance(model, FITEncoder)
    side = inputs[1] if len(inputs) > 1 else None
    outputs = PassOutputs(tokens=tokens)
    latents = stream_encoder(model, groups, lambda part: inputs[0][part], how, outputs, side=side)
    return [tokens.whole, latents]


def run_on_all(model: object, groups: Groups, inputs: list[Tensor]) -> list[Tensor]:
    """Return what `streamed` returns, from the forward pass of the model."""
    if isinstance(model, FITDecoder):
        return [model(inputs[0], groups, *inputs[1:])]
    if isinstance(model, FITDenoiser):
        patches, previous, level, condition = inputs
        return list(model(patches, groups, level, condition, previous))
    assert isinstance(model, FITEncoder)
    return list(model(inputs[0], groups, *inputs[1:]))


def made(name: str, dtype: torch.dtype) -> tuple[object, object]:
    """Return a model of a kind in `CONFIGS`, without its head, and the config."""
    model = live(CONFIGS[name], dtype)
    return (model.encoder if isinstance(model, FITClassifier) else model), CONFIGS[name]


def golden(name: str) -> tuple[object, Groups, list[Tensor]]:
    """Return a network of the reference, and the groups and inputs of the first of its images."""
    case = Case(GOLDEN / f"{name}.npz")
    if name.startswith("fit_ar"):
        ids = case.inputs["tokens"][:1]
        return build_decoder(case.config, case.weights).double().eval(), golden_groups(ids), [fold(ids).long()]
    x = case.inputs["x"][:1].double()
    if name.startswith("fit_denoiser"):
        condition, time = case.inputs["cond"][:1].double(), case.inputs["time"][:1].double()
        previous, features = case.inputs.get("latents_prev"), 0 if time.ndim == 1 else time.shape[1] - 1
        model = build_denoiser(case.config, case.weights, x.shape[-1], condition.shape[-1], features)
        condition = condition[:, None] if condition.ndim == 2 else condition
        inputs = [fold(x), None if previous is None else fold(previous[:1].double()), time, condition]
        return model.double().eval(), golden_groups(x), inputs  # type: ignore[return-value]
    y = case.inputs.get("y")
    config = EncoderConfig(
        **trunk_settings(case.config), patch=1, channels=x.shape[-1], side_values=None if y is None else y.shape[-1]
    )
    encoder = build(config, seed=None)
    encoder.load_state_dict(import_weights(case.weights, ENCODER_NAMES))
    return encoder.double().eval(), golden_groups(x), [fold(x), *([] if y is None else [fold(y[:1].double())])]


def encoder(plan: str, **changes: object) -> FITEncoder:
    settings: dict[str, object] = {
        "plan": plan, "tokens": 9, "latents": 2, "token_width": 12, "latent_width": 16, "token_heads": 2,
        "latent_heads": 4, "patch": 4, "channels": 1,
    }  # fmt: skip
    config = EncoderConfig.from_dict(settings | changes)
    model = build(config, seed=3).double().eval()
    # Fresh parameters are zero in places, which would hide mistakes.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


def inputs(size: tuple[int, int]) -> tuple[PatchGrid, Tensor]:
    grid = PatchGrid(size, 4, 3)
    generator = torch.Generator().manual_seed(1)
    return grid, torch.randn(grid.count, 9, 16, generator=generator, dtype=torch.float64)
