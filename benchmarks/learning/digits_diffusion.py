"""A diffusion model of handwritten digits: are its samples recognised as what they were asked to be?

    python -m benchmarks.learning.digits_diffusion --data FOLDER --work FOLDER [--train OPTIONS] [--out FILE.json]

FOLDER holds the test set of MNIST as published; `digits.py` says how it is split and padded to 32 x 32 pixels. The
model is trained by `fit train --task diffusion` on 7,500 digits with their labels, unless WORK/run is there already. It
then draws 500 digits, 50 of each label, from the moving average of its weights, with everything in memory.

They are read by a support vector machine of scikit-learn (`pip install fitcli[bench]`) with a Gaussian kernel on the
pixels, fitted to the first 8,000 real digits: it has seen no sample, and the 2,000 digits that nothing was fitted to
say how far it can be believed.
Goal: it is right on 97 % of those, and reads 90 % of the samples as their label.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.svm import SVC

from benchmarks.learning.digits import FITTED, SIDE, Digits, fit, read_digits, save, write_dataset
from benchmarks.support.machine import save_results
from fitcli.device.runtime import choose_runtime
from fitcli.noise import group_noise
from fitcli.patches.cutting import to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint, load_denoiser
from fitcli.tasks.diffusion.generate.prepare import diffusion_of
from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.parameterization import to_values
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from models.denoiser import FITDenoiser
from models.groups import Groups

TRAIN = (
    "--preset debug --prediction x --self-condition-rate 0 --learning-rate 0.003 --batch-size 32 --steps 3200 --seed 0"
)
"""64 patches of 4 x 4 pixels, one group: small enough for minutes on a CPU."""

BATCH = 100
"""Digits that are drawn together."""


def read_training(run: Path) -> dict[str, Any]:
    """How long it trained, on how many images, and how good it was in the end."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps, batch = [line for line in lines if line["kind"] == "train"], images_per_step(run)
    return {
        "steps": steps[-1]["step"],
        "epochs": steps[-1]["epoch"],
        "seconds": sum(batch / step["images_per_second"] for step in steps),
        "share_of_waiting_for_data": float(np.mean([step["data_wait"] for step in steps])),
        "validation_loss": next(line["loss"] for line in reversed(lines) if line["kind"] == "validation"),
    }


def images_per_step(run: Path) -> int:
    settings = json.loads((run / "training" / "settings.json").read_text(encoding="utf-8"))
    return int(settings["batch_size"] * settings["accumulate"])


def draw(checkpoint: Checkpoint[FITDenoiser], labels: NDArray[np.int64], options: argparse.Namespace) -> Digits:
    """A digit of each label [i 32 32]; the same ones every time."""
    diffusion, config = diffusion_of(checkpoint), checkpoint.model.config
    grid = PatchGrid((SIDE, SIDE), diffusion.patch, config.group)
    sampling = Sampling(
        steps=options.steps,
        schedule=shifted(parse_schedule(diffusion.schedule), diffusion.shift),
        sampler=find_step(options.sampler),
        prediction=diffusion.prediction,
        clip=(-diffusion.scale, diffusion.scale),
        guidance=options.guidance,
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
        for patches in values.unflatten(0, (len(images), grid.count)):
            drawn.append(np.rint(to_pixels(patches, grid)[..., 0] * 255).astype(np.uint8))
    return np.stack(drawn)


def flat(digits: Digits) -> NDArray[np.float32]:
    return digits.reshape(len(digits), -1).astype(np.float32) / 255


def fit_reader(digits: Digits, labels: NDArray[np.uint8]) -> SVC:
    return SVC(C=10, kernel="rbf", gamma="scale").fit(flat(digits), labels)


def draw_grid(path: Path, drawn: Digits, rows: int = 10) -> None:
    """`rows` digits of each label, a label per column."""
    shown = drawn[: rows * 10].reshape(rows, 10, SIDE, SIDE).transpose(0, 2, 1, 3)
    save(path, np.ascontiguousarray(shown.reshape(rows * SIDE, 10 * SIDE)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set, the run and the samples")
    parser.add_argument("--train", default=TRAIN, help="options of `fit train`")
    parser.add_argument("--limit", type=int, default=10**9, help="digits of each split, to try it out")
    parser.add_argument("--samples", type=int, default=500, help="digits to draw, in tens")
    parser.add_argument("--sampler", default="ddim")
    parser.add_argument("--steps", type=int, default=50, help="of the sampler")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    digits, labels = read_digits(options.data)
    run = options.work / "run"
    if not (run / "config.json").exists():
        listing = write_dataset(options.work, digits, labels, options.limit)
        fit("train", listing, "--out", run, "--task", "diffusion", *shlex.split(options.train))

    checkpoint = load_denoiser(run, choose_runtime("cpu", "fp32"))
    wanted = np.arange(options.samples) % 10
    began = time.perf_counter()
    drawn = draw(checkpoint, wanted, options)
    seconds = time.perf_counter() - began
    draw_grid(options.work / "samples.png", drawn)

    fitted = slice(0, min(FITTED, options.limit))
    reader = fit_reader(digits[fitted], labels[fitted])
    held_out = float(np.mean(reader.predict(flat(digits[FITTED:])) == labels[FITTED:]))
    right = reader.predict(flat(drawn)) == wanted
    results = {
        "train": options.train,
        "training": read_training(run),
        "sampling": {name: getattr(options, name) for name in ("sampler", "steps", "guidance", "samples")},
        "sampling_seconds": seconds,
        "reader_right_on_held_out_digits": held_out,
        "samples_read_as_their_label": float(right.mean()),
        "by_label": {str(label): float(right[wanted == label].mean()) for label in range(10)},
    }
    print(json.dumps(results, indent=2))
    save_results(options.out, ["torch", "numpy", "scikit-learn"], results)


if __name__ == "__main__":
    main()
