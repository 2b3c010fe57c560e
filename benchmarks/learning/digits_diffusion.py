"""Trains a diffusion model of handwritten digits, and tests whether its samples are recognised as their labels.

    python -m benchmarks.learning.digits_diffusion --data FOLDER --work FOLDER [--train OPTIONS] [--out FILE.json]

The data folder holds the test set of MNIST as published; `digits.py` describes its splits and the padding to 32 x 32
pixels. `fit train --task diffusion` trains the model on 7,500 digits with their labels, unless the run in the work
folder exists. The moving average of its weights then draws 500 digits in memory, 50 of each label.

A support vector machine of scikit-learn (`pip install fitcli[bench]`) with a Gaussian kernel on the pixels reads the
samples. It is fitted to the first 8,000 real digits alone. Its accuracy on the other 2,000 shows how reliable it is.
Goal: it is right on 97 % of those 2,000, and reads 90 % of the samples as their label.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.svm import SVC

from benchmarks.learning.digits import FITTED, SIDE, Digits, fit, read_digits, save, write_dataset
from benchmarks.support.machine import save_results
from benchmarks.support.training import read_training
from fitcli.device.runtime import choose_runtime
from fitcli.noise import group_noise
from fitcli.patches.cutting import to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate_options import parse_times
from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.parameterization import to_values
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run
from models.denoiser import FITDenoiser
from models.groups import Groups

TRAIN = (
    "--preset debug --prediction x --self-condition-rate 0 --learning-rate 0.003 --batch-size 32 --steps 6400 --seed 0"
)
"""64 patches of 4 x 4 pixels, one group: small enough for minutes on a CPU."""

BATCH = 100
"""Digits drawn together."""


def draw(checkpoint: Checkpoint[FITDenoiser], labels: NDArray[np.int64], options: argparse.Namespace) -> Digits:
    """Draw one digit [32 32] for each label; the noise is the same in every call."""
    diffusion, config = diffusion_of(checkpoint.config), checkpoint.model.config
    grid = PatchGrid((SIDE, SIDE), diffusion.patch, config.group)
    sampling = Sampling(
        steps=options.steps,
        schedule=shifted(parse_schedule(diffusion.schedule), diffusion.shift),
        sampler=find_step(options.sampler),
        prediction=diffusion.prediction,
        clip=(-diffusion.scale, diffusion.scale),
        guidance=options.guidance,
        guided=(0.0, 1.0) if (times := options.guidance_interval) is None else (times.first, times.last),
    )
    drawn = []
    for start in range(0, len(labels), BATCH):
        images = range(start, min(start + BATCH, len(labels)))

        def noise(step: int, images: range = images) -> torch.Tensor:
            shape = (config.tokens, config.values)
            return torch.cat([group_noise(0, "noise", range(grid.count), shape, image, step) for image in images])

        condition = F.one_hot(torch.from_numpy(labels[images.start : images.stop]), 10).float()[:, None]
        groups = Groups.of_grid(len(images), grid.rows, grid.columns)
        data = generate(checkpoint.model, sampling, groups, noise(0), condition, lambda step: noise(step + 1))
        values = to_values(data, diffusion.scale).clamp(0, 1)
        for patches in values.unflatten(0, (len(images), grid.count)):  # type: ignore[no-untyped-call]
            drawn.append(np.rint(to_pixels(patches, grid)[..., 0] * 255).astype(np.uint8))
    return np.stack(drawn)


def flat(digits: Digits) -> NDArray[np.float32]:
    """Return the pixels of each digit [i 1024] in 0 ... 1."""
    return digits.reshape(len(digits), -1).astype(np.float32) / np.float32(255)


def fit_reader(digits: Digits, labels: NDArray[np.uint8]) -> SVC:
    """Fit the support vector machine that reads digits."""
    return SVC(C=10, kernel="rbf", gamma="scale").fit(flat(digits), labels)


def draw_grid(path: Path, drawn: Digits, rows: int = 10) -> None:
    """Write a grid of at most `rows` digits of each label, one label per column."""
    rows = min(rows, len(drawn) // 10)
    shown = drawn[: rows * 10].reshape(rows, 10, SIDE, SIDE).transpose(0, 2, 1, 3)
    save(path, np.ascontiguousarray(shown.reshape(rows * SIDE, 10 * SIDE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set, the run and the samples")
    parser.add_argument("--train", default=TRAIN, help="options of `fit train`")
    parser.add_argument("--limit", type=int, default=10**9, help="most digits of each split, for a trial")
    parser.add_argument("--samples", type=int, default=500, help="digits to draw, a multiple of ten")
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--steps", type=int, default=50, help="steps of the sampler")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--guidance-interval", type=parse_times, help="times of guidance, like 0.3,1; all by default")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    digits, labels = read_digits(options.data)
    run = options.work / "run"
    if not (run / "config.json").exists():
        listing = write_dataset(options.work, digits, labels, options.limit)
        fit("train", listing, "--out", run, "--task", "diffusion", *shlex.split(options.train))

    checkpoint = load_run(run, choose_runtime("cpu", "fp32"), DIFFUSION)
    targets = np.arange(options.samples) % 10
    began = time.perf_counter()
    drawn = draw(checkpoint, targets, options)
    seconds = time.perf_counter() - began
    draw_grid(options.work / "samples.png", drawn)

    fitted = slice(0, min(FITTED, options.limit))
    reader = fit_reader(digits[fitted], labels[fitted])
    held_out = float(np.mean(reader.predict(flat(digits[FITTED:])) == labels[FITTED:]))
    right = reader.predict(flat(drawn)) == targets
    results = {
        "train": options.train,
        "training": read_training(run),
        "sampling": {name: getattr(options, name) for name in ("sampler", "steps", "guidance", "samples")},
        "sampling_seconds": seconds,
        "reader_right_on_held_out_digits": held_out,
        "samples_read_as_their_label": float(right.mean()),
        "by_label": {str(label): float(right[targets == label].mean()) for label in range(10)},
    }
    print(json.dumps(results, indent=2))
    save_results(options.out, ["torch", "numpy", "scikit-learn"], results)


if __name__ == "__main__":
    main()
