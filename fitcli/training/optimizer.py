"""The optimizer: AdamW, the parameters that it decays, and the learning rate of each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fitcli.device.transfer import runs_ahead
from fitcli.runs.train_settings import TrainSettings

FUSED = ("cpu",)
"""Kinds of devices on which one kernel updates all weights, beside those that run ahead of the host."""

BETAS = (0.9, 0.98)
"""Decay rates of the moments. 0.98 instead of the usual 0.999: runs may have hundreds of steps, not millions."""


def build_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov & Hutter 2019) that decays the matrices of layers, but no bias, norm or table."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_matrix = isinstance(module, nn.Linear | nn.Conv2d) and name == "weight"
            (decayed if is_matrix else others).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # The fused kernel takes a sixth of the time on one core, and can leave out a step by itself.
    device = decayed[0].device
    fused = device.type in FUSED or runs_ahead(device) or None
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=fused)


def step_if_finite(optimizer: torch.optim.AdamW, norm: Tensor) -> None:
    """Take a step if the norm of the gradient is finite; otherwise change no weight, moment or count.

    The host does not wait for a CUDA device. The fused kernel reads there whether to leave out the step, from the
    attribute by which `torch.amp.GradScaler` tells it.

    Args:
        optimizer: The result of `build_optimizer`.
        norm: Scalar on the device of the weights.
    """
    skips = torch.isfinite(norm).logical_not()
    if optimizer.defaults["fused"]:
        optimizer.found_inf = skips.to(torch.float32)  # type: ignore[attr-defined]
        optimizer.step()
    elif not bool(skips):
        optimizer.step()


def learning_rate(step: int, total: int, settings: TrainSettings) -> float:
    """Return the learning rate of step 0 ... total - 1: linear warm-up, then cosine (Loshchilov & Hutter 2017)."""
    warmup = max(1, round(settings.warmup * total))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate
