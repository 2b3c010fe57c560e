"""Counts trees in a real aerial image: recall and precision of runs, and of what other detectors found.

    python -m benchmarks.learning.trees --data FOLDER --work FOLDER [--runs NAME=RUN ...] [--found NAME=FOLDER ...]
                                        [--out FILE.json]

DATA is the folder `data` of the package deepforest 2.1.0: only its images and boxes are read, nothing of it is run.
Writes WORK/trees.csv. Three images are there to learn from, with 316 trees: the left three quarters of one of
1249 x 1035 pixels, and two of 400 x 400. They have many names, the first one four times as many as the others, since it
is larger: an epoch is one window of each name. The right quarter, with 61 trees, chooses the weights and the threshold.
The test is an image of another place, of 2299 x 2472 pixels with 574 trees. Train on one thread:

    fit train WORK/trees.csv --task detect --out RUN ...

Both images are searched in one pass each. Another detector writes FOLDER/val.csv and FOLDER/test.csv with the columns
`xmin,ymin,xmax,ymax,score`. A tree is found if a box overlaps its box by 0.4 (IoU). The threshold of each detector is
that with the best F1 on val.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.support.machine import save_results
from fitcli.annotations.affine_map import Floats
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.annotations.objects.placed_objects import place_objects
from fitcli.files.publish import publish_csv
from fitcli.images.open import open_image
from fitcli.tasks.detect.average_precision import average_precision, best_threshold
from fitcli.tasks.detect.candidates import FLOOR
from fitcli.tasks.detect.detection_scores import counts_at
from fitcli.tasks.detect.detections import Detections
from fitcli.tasks.detect.matching import Matches, match_boxes

LARGE = "2019_YELL_2_541000_4977000_image_crop"
TEST = "2019_YELL_2_528000_4978000_image_crop2"
SMALL = ("OSBS_029", "SOAP_061")

BORDER = 936
"""First column of the large image that is not trained on."""

NAMES = 12
"""Names of a small image; the large one has `SHARE` times as many."""

SHARE = 4

OVERLAP = 0.4
"""Overlap (IoU) at which a tree is found."""

COLUMNS = ("path", "xmin", "ymin", "xmax", "ymax", "label", "split")
SIDES = ("xmin", "ymin", "xmax", "ymax")
KIND = "Tree"


def boxes_of(path: Path) -> Floats:
    """Return the boxes (left, top, right, bottom) [n 4] of a file of PASCAL VOC."""
    objects = ElementTree.parse(path).iter("object")
    rows = [[float(each.findtext(f"bndbox/{side}", "nan")) for side in SIDES] for each in objects]
    return np.array(rows).reshape(-1, 4)


def make_data(data: Path, work: Path) -> Path:
    """Write the images and their boxes, and return the list of them."""
    listing = work / "trees.csv"
    if listing.exists():
        return listing
    rows = list[tuple[object, ...]]()
    large = _part(data, LARGE, slice(0, BORDER)), _part(data, LARGE, slice(BORDER, None))
    parts = [("left", "train", NAMES * SHARE, *large[0])]
    parts += [(name, "train", NAMES, *_part(data, name)) for name in SMALL]
    parts += [("val", "val", 1, *large[1]), ("test", "test", 1, *_part(data, TEST))]
    for name, split, count, pixels, boxes in parts:
        names = [f"{name}.png" if count == 1 else f"{name}-{number}.png" for number in range(count)]
        Image.fromarray(pixels).save(work / names[0])
        for other in names[1:]:
            os.link(work / names[0], work / other)
        rows.extend((each, *box, KIND, split) for each in names for box in boxes.tolist())
    with publish_csv(listing) as table:
        table.write_rows([COLUMNS, *rows])
    return listing


def _part(data: Path, name: str, columns: slice = slice(None)) -> tuple[NDArray[np.uint8], Floats]:
    """Return columns of an image, and the boxes of the trees whose middles lie there."""
    with Image.open(data / f"{name}.png") as image:
        pixels = np.asarray(image.convert("RGB"))[:, columns]
    boxes = boxes_of(data / f"{name}.xml")
    boxes[:, [0, 2]] -= columns.start or 0
    width = pixels.shape[1]
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    own = boxes[(middles >= 0) & (middles < width)]
    own[:, [0, 2]] = own[:, [0, 2]].clip(0, width)
    return pixels, own


def detect(run: Path, work: Path, folder: Path) -> None:
    """Find the trees of both images, all above the least score, and write them to a folder."""
    folder.mkdir(exist_ok=True)
    for name in ("val", "test"):
        options = ["--checkpoint", run, "--out", folder / f"{name}.csv", "--threshold", FLOOR, "--device", "cpu"]
        command = [sys.executable, "-m", "fitcli", "detect", work / f"{name}.png", *options]
        subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)


def matched(listing: Path, name: str, found: Path) -> Matches:
    """Compare the boxes in a CSV file with the true ones."""
    with found.open(newline="", encoding="utf-8") as file:
        rows = [[float(row[column]) for column in (*SIDES, "score")] for row in csv.DictReader(file)]
    values = np.array(rows, np.float32).reshape(-1, 5)
    detections = Detections(values[:, :4], values[:, 4], np.zeros(len(values), np.int32))
    with open_image(listing.with_name(name)) as image:
        return match_boxes(detections, place_objects(ObjectSource(listing, name), image, (KIND,)), (OVERLAP,))


def score(listing: Path, folder: Path) -> dict[str, Any]:
    """Return the scores of what a detector found."""
    val, test = (matched(listing, f"{name}.png", folder / f"{name}.csv") for name in ("val", "test"))
    chosen = best_threshold(val.scores, val.kinds[:, 0], len(val.true_numbers), 0.5)
    best = best_threshold(test.scores, test.kinds[:, 0], len(test.true_numbers), 0.5)
    return {
        "threshold": chosen.threshold,
        "val_f1": chosen.f1,
        **counts_at(test, chosen.threshold).scores(),
        "ap40": float(average_precision(test.scores, test.kinds, len(test.true_numbers))[0]),
        "best_f1": best.f1,
    }


def named_folder(text: str) -> tuple[str, Path]:
    """Parse `NAME=FOLDER`."""
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER")
    return name, Path(folder)


def main() -> None:
    """Write the data, and score runs and other detectors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder `data` of deepforest")
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set and what runs find")
    parser.add_argument("--runs", type=named_folder, nargs="+", default=[], metavar="NAME=RUN", help="runs of fit")
    parser.add_argument("--found", type=named_folder, nargs="+", default=[], metavar="NAME=FOLDER", help="other boxes")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    listing = make_data(options.data, options.work)
    folders = dict(options.found)
    for name, run in options.runs:
        folders[name] = options.work / f"found-{name}"
        detect(run, options.work, folders[name])
    rows = []
    for name, folder in folders.items():
        rows.append({"detector": name, **score(listing, folder)})
        print(rows[-1], flush=True)
    save_results(options.out, ["torch", "numpy"], {"overlap": OVERLAP, "rows": rows})


if __name__ == "__main__":
    main()
