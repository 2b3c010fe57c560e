"""Writes crops of photographs of brick, grass and gravel as a data set for `fit train`, for validation curves.

    python -m benchmarks.learning.texture_crops FOLDER

Needs scikit-image for its photographs, 512 x 512 grey pixels each. Crops of 160 to 240 pixels per side have equal mean
and contrast, so that neither tells the textures apart, and are turned at random: 16 of each from the left halves train,
4 of each from the right halves validate. Writes FOLDER/crops.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.learning.real_pixels import CONTRAST, MEAN, TEXTURES, photograph

SIDES = (160, 240)
"""Smallest and largest side of a crop in pixels."""

COUNTS = {"train": 16, "val": 4}
"""Crops of each texture, by split."""


def crops(whole: NDArray[np.uint8], split: str, rng: np.random.Generator) -> Iterator[NDArray[Any]]:
    """Yield the crops of a split from its half of a photograph."""
    middle = whole.shape[1] // 2
    half = whole[:, :middle] if split == "train" else whole[:, middle:]
    for _ in range(COUNTS[split]):
        height, width = rng.integers(*SIDES, 2, endpoint=True)
        top, left = rng.integers(0, half.shape[0] - height + 1), rng.integers(0, half.shape[1] - width + 1)
        crop = half[top : top + height, left : left + width].astype(np.float64)
        evened = MEAN + CONTRAST * (crop - crop.mean()) / crop.std()
        yield np.rot90(evened, int(rng.integers(4))).round().clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True)
    rng, rows = np.random.default_rng(0), [("path", "label", "split")]
    for texture in TEXTURES:
        whole = np.asarray(photograph(texture))
        for split in COUNTS:
            for number, crop in enumerate(crops(whole, split, rng)):
                name = f"{texture}-{split}-{number:02}.png"
                Image.fromarray(crop).save(folder / name)
                rows.append((name, texture, split))
    with (folder / "crops.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
