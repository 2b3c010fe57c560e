"""Trains a model on images whose halves have different colours and classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.command_line import Fit
from support.pictures import colored, save


def half_and_half(path: Path, seed: int) -> tuple[Path, Path]:
    """Write an image of 48 x 64 pixels, and its labels: class 3 in the left half and 7 in the right one."""
    pixels = np.concatenate([colored((48, 32), (40, 60, 200), seed), colored((48, 32), (200, 60, 40), seed)], axis=1)
    labels = np.array([[[3], [7]]], np.uint8).repeat(48, axis=0).repeat(32, axis=1)
    return save(path, pixels), save(path.with_name(f"{path.stem}-labels.png"), labels)


def data_of_halves(folder: Path) -> Path:
    """Write four images with their labels; return the CSV file that lists them."""
    folder.mkdir(exist_ok=True)
    files = [half_and_half(folder / f"{number}.png", number) for number in range(4)]
    rows = [f"{image.name},{labels.name},{'val' if n == 3 else 'train'}" for n, (image, labels) in enumerate(files)]
    (folder / "data.csv").write_text("\n".join(["path,labels,split", *rows]) + "\n")
    return folder / "data.csv"


def trained_on_halves(fit: Fit, folder: Path, *more: str) -> Path:
    """Return a run folder of a model with the classes left and right."""
    data, run = data_of_halves(folder), folder / "run"
    options = ["--task", "segment", "--preset", "debug", "--steps", "30", "--no-augment", "--learning-rate", "0.003"]
    result = fit("train", data, "--out", run, *options, "--classes", "3=left,7=right", *more)
    assert result.exit_code == 0, result.stderr
    return run
