"""Loads what the first step of a training would load, so that it counts before an execution is chosen."""

from __future__ import annotations

import torch
from torch import nn

from fitcli.device.runtime import Runtime
from fitcli.runs.train_settings import TrainSettings
from fitcli.training.optimizer import build_optimizer

WIDTH = 256
"""Width of the layers: wide enough for the kernels of real layers, far too small to matter."""


def warm_up(runtime: Runtime, settings: TrainSettings) -> None:
    """Run one training step of a tiny model: attention, its gradients and the optimizer.

    PyTorch imports modules when an optimizer is built, loads the library of its matrix products at the first one, and
    starts threads. Together they take tens of MiB on a CPU. The random state stays as it is.
    """
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(WIDTH, WIDTH, device=runtime.device)
    optimizer = build_optimizer(layer, settings)
    with runtime.autocast():
        heads = layer(torch.zeros(1, 4, WIDTH, WIDTH, device=runtime.device))
        attended = nn.functional.scaled_dot_product_attention(heads, heads, heads)
    torch.autograd.backward(attended.sum())
    optimizer.step()
