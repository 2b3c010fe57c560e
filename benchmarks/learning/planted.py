"""Trains with plain defaults on a data set whose classes are planted at known places, and scores what was learnt.

    python -m benchmarks.learning.planted slides|scenes|wells --data FOLDER [--make-only] [--run RUN] [--out FILE.json]

Makes the data set in FOLDER/DATASET, runs `fit train DATA --out RUN` with no other option, and scores the run with the
code of `fit classify`. The data sets, with a seed of their own pixels:

    slides   60 of 1000 to 1500 pixels, SVS and OME-TIFF, 30 patients, two scanners; nests of small or large nuclei
    scenes   48 GeoTIFF of 380 to 640 pixels with four bands of uint16, nodata in a corner; fields of low near infrared
    wells    48 OME-Zarr and OME-TIFF of 360 to 400 pixels with three channels of uint16; spots small or large

Scores: accuracy on other patients or scenes; accuracy on images with sides eight times as long; and the pointing score
at the rim, in a corner and in the middle: the share of the ten strongest patches of the heat map that lie in the
planted place, for images with a single one. Goal: 95 %, all of the large ones, and 0.8 at each kind of place, after at
most 30 minutes on two threads.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.learning.planted_kinds import KINDS
from benchmarks.learning.planted_places import WHERE, PlannedImage, make, training_data
from benchmarks.support.machine import save_results
from benchmarks.support.processes import run_python
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.heatmap import write_heatmap
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_run
from models.encoder import FITClassifier

STRONGEST = 10
"""Number of patches that the pointing score looks at."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a run says of an image.

    Attributes:
        image: The image.
        predicted: Class with the highest probability.
        probability: Probability of the true class.
        pointing: Share of the strongest patches that lie in planted places; None without places.
    """

    image: PlannedImage
    predicted: str
    probability: float
    pointing: float | None

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted == self.image.label


def score(checkpoint: Checkpoint[FITClassifier], runtime: Runtime, folder: Path, image: PlannedImage) -> Score:
    """Classify an image and look where its heat map, a file as `fit classify --heatmap` writes it, points."""
    config = checkpoint.config
    with open_image(folder / image.path) as reader, tempfile.TemporaryDirectory() as temporary:
        result = classify_image(checkpoint, reader, runtime, keep_evidence=bool(image.places))
        pointing = None
        if image.places:
            layer = Path(temporary) / "heat.tif"
            write_heatmap(layer, reader, result)
            patch = checkpoint.model.config.patch
            pointing = pointing_score(_values(layer, patch), patch, image)
    predicted = config.classes[int(result.probabilities.argmax())]
    return Score(image, predicted, float(result.probabilities[config.classes.index(image.label)]), pointing)


def _values(layer: Path, patch: int) -> NDArray[Any]:
    """Return the value of each patch of a layer, [rows columns]."""
    with open_image(layer) as reader:
        pixels: NDArray[Any] = reader.read(Window(0, 0, *reader.info.size))[::patch, ::patch, 0]
    return pixels


def pointing_score(values: NDArray[Any], patch: int, image: PlannedImage) -> float:
    """Return the share of the strongest patches whose middle lies in a planted place, or within half a patch of one.

    Args:
        values: [rows columns] of the patches; NaN where there is no data.
        patch: Pixels per side of a patch.
        image: The image.
    """
    # Patches without data are NaN, which counts as the greatest value in sorting.
    present = np.where(np.isnan(values), -np.inf, values)
    strongest = np.argsort(present, axis=None, kind="stable")[::-1][:STRONGEST]
    y, x = (numbers * patch + patch / 2 for numbers in np.unravel_index(strongest, values.shape))
    hits = [np.hypot(y - place.y, x - place.x) <= place.radius + patch / 2 for place in image.places]
    return float(np.logical_or.reduce(hits).mean())


def summarize(scores: Sequence[Score]) -> dict[str, Any]:
    """Return the scores of each part, over all images and by class."""
    parts: dict[str, list[Score]] = defaultdict(list)
    for each in scores:
        parts[each.image.part].append(each)
    return {part: _summary(own) | {"by_class": _by_class(own)} for part, own in parts.items()}


def _by_class(scores: Sequence[Score]) -> dict[str, Any]:
    labels = sorted({each.image.label for each in scores})
    return {label: _summary([each for each in scores if each.image.label == label]) for label in labels}


def _summary(scores: Sequence[Score]) -> dict[str, Any]:
    pointing = [each.pointing for each in scores if each.pointing is not None]
    return {
        "images": len(scores),
        "accuracy": float(np.mean([each.correct for each in scores])),
        "probability": float(np.mean([each.probability for each in scores])),
        "pointing": float(np.mean(pointing)) if pointing else None,
    }


def show(summary: dict[str, Any]) -> None:
    """Print the scores."""
    for part in ("test", "large", *WHERE):
        cells = [f"{part:7} {summary[part]['images']:3} images, {summary[part]['accuracy']:6.1%} right"]
        pointed = {"": summary[part], **summary[part]["by_class"]}
        cells += [
            f"pointing {name} {own['pointing']:.2f}" for name, own in pointed.items() if own["pointing"] is not None
        ]
        print(", ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=list(KINDS))
    parser.add_argument("--data", type=Path, required=True, help="folder for the data sets")
    parser.add_argument("--make-only", action="store_true", help="make the data set, and end")
    parser.add_argument("--run", type=Path, help="score this run; default: train FOLDER/DATASET-run first")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data set")
    parser.add_argument("--threads", type=int, default=1, help="threads of training and scoring")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    torch.set_num_threads(options.threads)
    kind, folder = KINDS[options.dataset], options.data / options.dataset
    images = make(kind, folder, options.seed)
    if options.make_only:
        return
    results: dict[str, Any] = {"dataset": options.dataset, "seed": options.seed}
    run = options.run or options.data / f"{options.dataset}-run"
    if options.run is None:
        began = time.perf_counter()
        run_python("-m", "fitcli", "train", str(training_data(kind, folder)), "--out", str(run))
        results["train_seconds"] = time.perf_counter() - began
    runtime = choose_runtime("cpu", "fp32", inference=True)
    checkpoint = load_run(run, runtime, CLASSIFY)
    scores = [score(checkpoint, runtime, folder, image) for image in images if image.part != "train"]
    results["scores"] = summarize(scores)
    show(results["scores"])
    save_results(options.out, ["torch", "numpy"], results, threads=options.threads)


if __name__ == "__main__":
    main()
