"""Build the model that a config describes, on any device, including the meta device."""

from __future__ import annotations

from typing import overload

import torch

from models.config import ClassifierConfig, DecoderConfig, DenoiserConfig, DenseConfig, EncoderConfig, TrunkConfig
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.dense import FITDense
from models.encoder import FITClassifier, FITEncoder
from models.initialization import initialize

Model = FITEncoder | FITClassifier | FITDense | FITDenoiser | FITDecoder


@overload
def build(  # type: ignore[overload-overlap]
    config: ClassifierConfig, device: torch.device | str = "cpu", seed: int | None = 0
) -> FITClassifier: ...
@overload
def build(config: DenseConfig, device: torch.device | str = "cpu", seed: int | None = 0) -> FITDense: ...  # type: ignore[overload-overlap]
@overload
def build(config: EncoderConfig, device: torch.device | str = "cpu", seed: int | None = 0) -> FITEncoder: ...
@overload
def build(config: DenoiserConfig, device: torch.device | str = "cpu", seed: int | None = 0) -> FITDenoiser: ...
@overload
def build(config: DecoderConfig, device: torch.device | str = "cpu", seed: int | None = 0) -> FITDecoder: ...
def build(config: TrunkConfig, device: torch.device | str = "cpu", seed: int | None = 0) -> Model:
    """Build the model that a config describes; its class follows from the class of the config.

    Args:
        config: Config of the model.
        device: Device of the weights. On "meta" the weights have shapes but no memory.
        seed: Seed of the initial weights. They are drawn on the CPU, so that every device starts with the same ones.
            None leaves the weights uninitialized, for loading a checkpoint.

    Raises:
        TypeError: The config is a bare `TrunkConfig`, which describes no model.
    """
    with torch.device("meta"):
        model = _construct(config)
    device = torch.device(device)
    if device.type == "meta":
        return model
    if seed is None:
        return model.to_empty(device=device)
    model = model.to_empty(device="cpu")
    initialize(model, torch.Generator().manual_seed(seed))
    return model.to(device)


def _construct(config: TrunkConfig) -> Model:
    match config:
        case ClassifierConfig():
            return FITClassifier(config)
        case DenseConfig():
            return FITDense(config)
        case EncoderConfig():
            return FITEncoder(config)
        case DenoiserConfig():
            return FITDenoiser(config)
        case DecoderConfig():
            return FITDecoder(config)
    raise TypeError(f"{type(config).__name__} describes no model; pass the config of an encoder, denoiser or decoder")
