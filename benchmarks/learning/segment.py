"""Compares models on scenes whose labels depend on a small key far away: FIT in one pass, and a U-Net on tiles.

    python -m benchmarks.learning.segment --work FOLDER [--minutes 15] [--runs labels=RUN swapped=RUN] [--out FILE.json]

Writes the data set of `fit demo --task segment` to FOLDER/data, and test scenes of 2048 and 8192 pixels per side beside
it. Half of the test scenes have a red key and half a blue one. The rows of FIT come from run folders, which
`fit evaluate` scores. Make the runs first, on one thread and for as many minutes of CPU time as the U-Net gets:

    fit train FOLDER/data/scenes.csv --task segment --classes FOLDER/data/classes.json --out RUN ...
    fit train FOLDER/data/swapped.csv --task segment --classes FOLDER/data/classes.json --out RUN2 --start-from RUN ...

The U-Net (24 channels, four halvings, cells of 2 pixels) learns from the training scenes by random tiles of 256 pixels,
turned and flipped; smaller scenes are shown whole. It is tested on overlapping tiles of 256 pixels. A tile without the
key does not tell which of two classes a texture is, so no tile model can expect more than an IoU of 1/3 for both.

labels: only one texture is named by the key. swapped: two textures exchange their names.
Goal: at least 0.97 for every class at both sizes (labels), 0.95 (swapped).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from benchmarks.support.machine import save_results
from benchmarks.support.unet import MARGIN, TILE, UNet, classify_tiles, to_input
from fitcli.demo.keyed_dataset import KINDS, SceneFile, make_demo, write_listing, write_scene
from fitcli.demo.keyed_scenes import CLASSES, UNLABELLED, KeyedScene
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.segment.segment_scores import ImageScores, summarize

STRIDE = 2
"""Side of a cell of the U-Net's output, in pixels."""

TOLERANCE = 4
"""Greatest distance of boundary pixels that count as hits, in pixels."""

TEST_SCENES = {2048: 4, 8192: 2}
"""Number of test scenes by their side; other sides have two."""

TEST_SEED = 900_000_000
"""Seeds of test scenes begin here, far from those of `fit demo`."""

BATCH_PIXELS = 2 * TILE * TILE
"""Pixels of a batch: two tiles. On a CPU the number of steps limits what the U-Net learns, so batches are small."""

RATE, DECAY, WARMUP = 1e-3, 0.05, 100
"""Learning rate of AdamW, its weight decay, and the steps in which the rate grows."""

LISTINGS = {"labels": "scenes.csv", "swapped": "swapped.csv"}
"""Listing of the data set by the kind of its labels."""


class Pixels(NamedTuple):
    """Scenes of one size: pixels [i height width 3] and labels [i height width]."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def make_data(work: Path, sides: list[int]) -> None:
    """Write the data set and the test scenes that are missing."""
    if not (work / "data").exists():
        make_demo(work / "data")
    for side in sides:
        if (work / f"{side}-labels.csv").exists():
            continue
        files = []
        for number in range(TEST_SCENES.get(side, 2)):
            scene = KeyedScene(TEST_SEED + 100 * side + number, side, side, number % 2 == 1)
            names = {kind: f"{side}-{number}-{kind}.tif" for kind in KINDS}
            files.append(SceneFile(f"{side}-{number}.tif", names, "test", scene))
            write_scene(scene, work / files[-1].image, {kind: work / name for kind, name in names.items()})
        for kind in reversed(KINDS):
            write_listing(work / f"{side}-{kind}.csv", files, kind)


def read_scenes(listing: Path, split: str) -> list[Pixels]:
    """Read the scenes of a split, those of one size together."""
    found: dict[tuple[int, ...], tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]] = {}
    for image, labels in _listed(listing, split):
        pixels = _read(image)
        of_size = found.setdefault(pixels.shape[:2], ([], []))
        of_size[0].append(pixels)
        of_size[1].append(_read(labels)[..., 0])
    return [Pixels(np.stack(pixels), np.stack(labels)) for pixels, labels in found.values()]


def _listed(listing: Path, split: str) -> list[tuple[Path, Path]]:
    with listing.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return [(listing.parent / row["path"], listing.parent / row["labels"]) for row in rows]


def _read(path: Path) -> NDArray[np.uint8]:
    with open_image(path) as image:
        return np.asarray(image.read(Window(0, 0, *image.info.size)))


def draw_batch(scenes: list[Pixels], rng: np.random.Generator) -> Pixels:
    """Draw tiles of scenes of one size; sizes are drawn by their numbers of scenes."""
    counts = np.array([len(each.pixels) for each in scenes])
    chosen = scenes[rng.choice(len(scenes), p=counts / counts.sum())]
    height, width = chosen.pixels.shape[1:3]
    tile = min(TILE, height, width)
    pixels: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    for number in rng.integers(0, len(chosen.pixels), BATCH_PIXELS // tile**2):
        top, left = rng.integers(0, (height - tile + 1, width - tile + 1))
        place = (int(number), slice(top, top + tile), slice(left, left + tile))
        turns, flipped = int(rng.integers(4)), bool(rng.integers(2))
        for values, into in ((chosen.pixels[place], pixels), (chosen.labels[place], labels)):
            turned = np.rot90(values, turns)
            into.append(turned[:, ::-1] if flipped else turned)
    return Pixels(np.stack(pixels), np.stack(labels))


def train_unet(
    scenes: list[Pixels], minutes: float, seed: int, classes: int = len(CLASSES)
) -> tuple[UNet, dict[str, Any]]:
    """Train for so many minutes of CPU time, with a learning rate that follows the time that has passed."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = UNet(classes, STRIDE)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    losses: list[float] = []
    start = time.process_time()
    while (share := (time.process_time() - start) / (60 * minutes)) < 1:
        rate = RATE * min(1.0, (len(losses) + 1) / WARMUP) * (1 + math.cos(math.pi * share)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses.append(_train_step(model, optimizer, draw_batch(scenes, rng)))
        if len(losses) % 50 == 0:
            print(f"step {len(losses)}, {100 * share:.0f} %, loss {np.mean(losses[-50:]):.3f}", flush=True)
    numbers = {
        "steps": len(losses),
        "minutes": minutes,
        "parameters": sum(p.numel() for p in model.parameters()),
        "last_loss": float(np.mean(losses[-50:])),
    }
    return model, numbers


def _train_step(model: UNet, optimizer: torch.optim.Optimizer, batch: Pixels) -> float:
    logits = model(to_input(batch.pixels)).repeat_interleave(STRIDE, 2).repeat_interleave(STRIDE, 3)
    loss = functional.cross_entropy(logits, torch.tensor(batch.labels).long(), ignore_index=UNLABELLED)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def score_unet(model: UNet, listing: Path, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    """Score the test scenes of a listing, strip by strip."""
    rows = []
    for image_path, labels_path in _listed(listing, "test"):
        with open_image(image_path) as image, open_image(labels_path) as labels:

            def strips() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
                top = 0
                for found in classify_tiles(model, image, STRIDE):
                    yield labels.read(Window(top, 0, *found.shape))[..., 0], found
                    top += len(found)

            rows.append(ImageScores.of(strips(), len(classes), TOLERANCE))
    return summarize(rows, classes)


def score_fit(run: Path, listing: Path) -> dict[str, Any]:
    """Score a run on the test scenes of a listing, by `fit evaluate`."""
    command = [sys.executable, "-m", "fitcli", "evaluate", listing, "--checkpoint", run, "--split", "test", "--json"]
    output = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True).stdout
    scores: dict[str, Any] = json.loads(output)
    return scores


def result_row(model: str, kind: str, side: int, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return a row of the table, and print it."""
    iou = {name: each["iou"] for name, each in scores["per_class"].items()}
    cells = " ".join(f"{name} {value:.3f}" for name, value in iou.items())
    print(f"{model:6} {kind:8} {side:6} {cells} mean {scores['mean_iou']:.3f}, {seconds:.1f} s", flush=True)
    names = ("mean_iou", "mean_boundary_f", "accuracy", "dice_per_image")
    return {"model": model, "kind": kind, "side": side, "iou": iou, **{n: scores[n] for n in names}, "seconds": seconds}


def compare(options: argparse.Namespace, runs: dict[str, Path]) -> list[dict[str, Any]]:
    """Train the U-Net, and score it and the runs at all sizes."""
    rows = []
    for kind in options.kinds:
        model = None
        if options.minutes > 0:
            scenes = read_scenes(options.work / "data" / LISTINGS[kind], "train")
            model, trained = train_unet(scenes, options.minutes, options.seed)
        for side in options.sides:
            listing = options.work / f"{side}-{kind}.csv"
            if model is not None:
                start = time.perf_counter()
                scores = score_unet(model, listing)
                rows.append(
                    result_row("U-Net", kind, side, scores, time.perf_counter() - start) | {"training": trained}
                )
            if kind in runs:
                start = time.perf_counter()
                scores = score_fit(runs[kind], listing)
                rows.append(result_row("FIT", kind, side, scores, time.perf_counter() - start))
    return rows


def run_of_kind(text: str) -> tuple[str, Path]:
    """Parse `KIND=RUN`."""
    kind, _, run = text.partition("=")
    if kind not in KINDS or not run:
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=RUN with one of {', '.join(KINDS)} as KIND")
    return kind, Path(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set and the test scenes")
    parser.add_argument("--minutes", type=float, default=15, help="CPU minutes of the U-Net per kind; 0: none")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--sides", type=int, nargs="+", default=list(TEST_SCENES), help="sides of the test scenes")
    parser.add_argument(
        "--runs", type=run_of_kind, nargs="+", default=[], metavar="KIND=RUN", help="run folders of FIT"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    make_data(options.work, options.sides)
    rows = compare(options, dict(options.runs))
    tiles = {"tile": TILE, "margin": MARGIN, "stride": STRIDE, "boundary_tolerance": TOLERANCE}
    save_results(options.out, ["torch", "numpy"], {**tiles, "rows": rows}, threads=options.threads)


if __name__ == "__main__":
    main()
