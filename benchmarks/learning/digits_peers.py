"""Trains a U-Net and a DiT on the digits of `digits_diffusion.py`, for `--minutes` CPU minutes each.

    python -m benchmarks.learning.digits_peers --data FOLDER [--work FOLDER] [--minutes 4] [--models unet dit]
        [--features-from CLASSIFIER] [--out FILE.json]

As in `ablations.py`: prediction of the image, cosine schedule, batches of 32, labels left out in a tenth, a moving
average, 200 samples with guidance 1, the same scores. Different: 20 steps of DDIM in place of `dpm`, other noise, and a
learning rate of 1e-3 with a warm-up of 5 % and a cosine to 0, by CPU time.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.learning.ablations import SAMPLES, distance_ratios
from benchmarks.learning.digits import FITTED, SIDE, TRAINED, Digits, read_digits
from benchmarks.learning.digits_diffusion import draw_grid, fit_reader, flat
from benchmarks.support.denoisers import DenoisingUNet, DiT
from benchmarks.support.machine import save_results
from fitcli.tasks.diffusion.schedules import cosine

MODELS = {"unet": DenoisingUNet, "dit": DiT}
BATCH, RATE, WARMUP, DECAY = 32, 1e-3, 0.05, 0.999
CLASSES, DROPOUT = 10, 0.1
GUIDANCE, STEPS = 1.0, 20


def train(model: nn.Module, digits: Digits, labels: NDArray[np.uint8], minutes: float) -> tuple[nn.Module, int]:
    """Train for so many CPU minutes; return the moving average of the weights, and the number of steps."""
    data = torch.from_numpy(digits[:, None].astype(np.float32) / 127.5 - 1)
    targets = torch.from_numpy(labels.astype(np.int64))
    random, average = torch.Generator().manual_seed(0), copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    began, step, share = time.process_time(), 0, 0.0
    while share < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(share / WARMUP, (1 + math.cos(math.pi * share)) / 2)
        chosen = torch.randint(len(data), (BATCH,), generator=random)
        image, times = data[chosen], torch.rand(BATCH, generator=random)
        dropped = torch.rand(BATCH, generator=random) < DROPOUT
        gamma = cosine(times)[:, None, None, None]
        noise = torch.randn(image.shape, generator=random)
        noisy = gamma.sqrt() * image + (1 - gamma).sqrt() * noise
        loss = (model(noisy, times, targets[chosen].masked_fill(dropped, CLASSES)) - image).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, weight in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(weight, 1 - decay)
        share = (time.process_time() - began) / (60 * minutes)
    return average, step


@torch.inference_mode()
def sample(model: nn.Module, labels: NDArray[np.int64]) -> Digits:
    """Draw a digit [32 32] for each label with DDIM (arXiv:2010.02502, equation 12)."""
    targets = torch.from_numpy(labels)
    none = torch.full_like(targets, CLASSES)
    x = torch.randn((len(labels), 1, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    times = torch.linspace(1, 0, STEPS + 1)
    for now, then in itertools.pairwise(times):
        at = now.expand(len(labels))
        image = (1 + GUIDANCE) * model(x, at, targets) - GUIDANCE * model(x, at, none)
        image = image.clamp(-1, 1)
        gamma, following = cosine(now).clamp(1e-6, 1 - 1e-6), cosine(then)
        noise = (x - gamma.sqrt() * image) / (1 - gamma).sqrt()
        x = following.sqrt() * image + (1 - following).clamp(min=0).sqrt() * noise
    pixels: Tensor = ((x[:, 0] + 1) * 127.5).clamp(0, 255).round()
    drawn: Digits = pixels.to(torch.uint8).numpy()
    return drawn


def measure(name: str, digits: Digits, labels: NDArray[np.uint8], reader: Any, options: Any) -> dict[str, Any]:
    """Train and draw with one model."""
    torch.manual_seed(0)
    model = MODELS[name](CLASSES)
    average, steps = train(model, digits[:TRAINED], labels[:TRAINED], options.minutes)
    targets: NDArray[np.int64] = np.arange(SAMPLES) % CLASSES
    drawn = sample(average, targets)
    if options.work is not None:
        draw_grid(options.work / f"{name}.png", drawn, 4)
    return {
        "model": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "cpu_minutes": options.minutes,
        "steps": steps,
        "read": float(np.mean(reader.predict(flat(drawn)) == targets)),
        **distance_ratios(drawn, digits[FITTED:], options.features_from),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, help="folder for pictures of the samples")
    parser.add_argument("--minutes", type=float, default=4, help="CPU minutes of each model")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--features-from", type=Path, help="run of a classifier of digits, for Fréchet distances")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits, labels = read_digits(options.data)
    reader, rows = fit_reader(digits[:FITTED], labels[:FITTED]), []
    for name in options.models:
        rows.append(measure(name, digits, labels, reader, options))
        print(json.dumps(rows[-1]), flush=True)
    save_results(options.out, ["torch", "numpy", "scikit-learn"], {"models": rows})


if __name__ == "__main__":
    main()
