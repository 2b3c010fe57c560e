"""Trains small diffusion models of handwritten digits that differ in one choice each, and compares their samples.

    python -m benchmarks.learning.ablations --data FOLDER --work FOLDER [--steps 800] [--only NAME ...]
        [--features-from CLASSIFIER] [--out FILE.json]

The data are those of `digits_diffusion.py`. Every model trains equally many steps of 32 digits with the same seed; the
CPU seconds of each are stated. The moving average of its weights draws 200 digits with labels (20 steps of `dpm`,
guidance 1, the same noise for all). read: the share that a support vector machine reads as their label. sliced: the
sliced Wasserstein distance of the samples to two sets of 200 held-out digits, over that between these sets, at 32 x 32
and 16 x 16 pixels. frechet: the same ratio of Fréchet distances, in the vectors of a classifier of digits. loss: the
validation loss, which compares only models of one prediction, schedule and shift.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.digits import FITTED, SIDE, Digits, fit, read_digits, write_dataset
from benchmarks.learning.digits_diffusion import draw, draw_grid, fit_reader, flat
from benchmarks.support.machine import save_results
from benchmarks.support.training import read_training
from fitcli.device.runtime import choose_runtime
from fitcli.evaluation.quality.crop_vectors import crop_vectors
from fitcli.evaluation.quality.crops import CropSet
from fitcli.evaluation.quality.figures import compare_sets
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run

BASE = (
    "--preset debug --plan (1)1(1) --prediction x --self-condition-rate 0 --learning-rate 0.003 --batch-size 32 "
    "--seed 0"
)

VARIANTS = {
    "base": "",
    "attention as in the reference": "--attention-start reference",
    "linear head": "--output-head linear",
    "two local layers": "--plan (2)1(2)",
    "two global layers": "--plan (1)2(1)",
    "two rounds": "--plan (1)1(1)1(1)",
    "prediction v": "--prediction v",
    "prediction eps": "--prediction eps",
    "self-conditioning": "--self-condition-rate 0.9",
    "min-SNR weights": "--loss-weighting min-snr",
    "two rounds, min-SNR weights": "--plan (1)1(1)1(1) --loss-weighting min-snr",
    "sigmoid weights": "--loss-weighting sigmoid",
    "patches of 8 pixels": "--patch 8",
    "patches of 2 pixels": "--patch 2",
    "sigmoid schedule": "--schedule sigmoid",
    "shift +2": "--shift 2",
    "shift -2": "--shift -2",
    "scale 0.5": "--scale 0.5",
    "8 latents": "--latents 8",
    "learning rate 0.006": "--learning-rate 0.006",
    "no average": "--ema 0",
}
"""What each model has instead of `BASE`; a later option takes the place of an earlier one."""

SAMPLES = 200
SAMPLING = argparse.Namespace(steps=20, sampler="dpm", guidance=1.0, guidance_interval=None)


def options_of(variant: str) -> list[str]:
    """Return the options of `fit train` of a variant."""
    words = dict[str, str]()
    for text in (BASE, VARIANTS[variant]):
        each = shlex.split(text)
        words |= dict(zip(each[::2], each[1::2], strict=True))
    return [word for pair in words.items() for word in pair]


def distance_ratios(drawn: Digits, held_out: Digits, features_from: Path | None) -> dict[str, Any]:
    """Return the ratios of sliced distances, finest level first, and that of Fréchet distances with a classifier."""
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), limits=(0, 255))
    runtime = choose_runtime("cpu", "fp32")
    vector_of = None if features_from is None else crop_vectors(features_from, pixels, runtime, None)

    def crops(name: str, digits: Digits) -> CropSet:
        values = PixelRange(0, 255, np.dtype(np.uint8))
        found = CropSet(name, (SIDE, SIDE), values, len(digits), vector_of=vector_of)
        for digit in digits:
            found.add(digit[..., None])
        return found

    real = [crops(f"real {part}", held_out[part : 2 * len(drawn) : 2]) for part in range(2)]
    _, levels, frechet = compare_sets(crops("generated", drawn), (real[0], real[1]), seed=0)
    return {
        "sliced": [each.generated / each.real for each in levels],
        "frechet": None if frechet is None else frechet.generated / frechet.real,
    }


def measure(options: argparse.Namespace, listing: Path, variant: str, digits: Digits, reader: Any) -> dict[str, Any]:
    """Train a variant and score its samples, unless an earlier call did; its row is kept beside the run."""
    folder: Path = options.work
    run = folder / variant.replace(" ", "-")
    kept, seconds = folder / f"{run.name}.json", None
    if kept.exists():
        row: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return row
    if not (run / "config.json").exists():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        fit("train", listing, "--out", run, "--task", "diffusion", *options_of(variant), "--steps", options.steps)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    checkpoint = load_run(run, choose_runtime("cpu", "fp32"), DIFFUSION)
    targets: NDArray[np.int64] = np.arange(SAMPLES) % 10
    drawn = draw(checkpoint, targets, SAMPLING)
    draw_grid(folder / f"{run.name}.png", drawn, 4)
    row = {
        "variant": variant,
        "options": VARIANTS[variant],
        "read": float(np.mean(reader.predict(flat(drawn)) == targets)),
        **distance_ratios(drawn, digits[FITTED:], options.features_from),
        "parameters": sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        "training_cpu_seconds": seconds,
        "training": read_training(run),
    }
    kept.write_text(json.dumps(row), encoding="utf-8")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set, the runs and the samples")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--features-from", type=Path, help="run of a classifier of digits, for Fréchet distances")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    digits, labels = read_digits(options.data)
    listing = options.work / "digits.csv"
    if not listing.exists():
        listing = write_dataset(options.work, digits, labels, 10**9)
    reader, rows = fit_reader(digits[:FITTED], labels[:FITTED]), []
    for variant in options.only:
        rows.append(measure(options, listing, variant, digits, reader))
        print(json.dumps(rows[-1]), flush=True)
    save_results(
        options.out, ["torch", "numpy", "scikit-learn"], {"base": BASE, "steps": options.steps, "variants": rows}
    )


if __name__ == "__main__":
    main()
