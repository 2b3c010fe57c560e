"""Small models that find objects, objects in memory, and slow obvious versions of what is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.dense_models import MODEL, PIXELS, _cast

from fitcli.annotations.objects.object_set import nothing
from fitcli.annotations.objects.placed_objects import PlacedObjects
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.config import DetectDetails
from fitcli.tasks.detect.detections import Detections
from models.build import build
from models.config import DenseConfig
from models.dense import FITDense

NAMES = ("iron", "wood")
LAYOUT = CellLayout(patch=4, group=3, cells=2)
SIDE_PIXELS = 6.0


def checkpoint(points: bool = False, preprocessing: Preprocessing = PIXELS, **changes: Any) -> Checkpoint[FITDense]:
    """Return a model with random weights in float64 that finds many objects."""
    details = DetectDetails(side=0.0 if points else SIDE_PIXELS)
    outputs = details.outputs(len(NAMES))
    config = DenseConfig.from_dict(MODEL | {"outputs": outputs, "channels": preprocessing.channels} | changes)
    model: Any = build(config, seed=3).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.head.bias.view(-1, outputs)[:, : len(NAMES)] += 4.0
    model.double()
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(_cast)
    return Checkpoint(model, RunConfig(model=config, preprocessing=preprocessing, classes=NAMES, details=details))


def objects_of(
    boxes: Any, numbers: Any = None, crowds: Any = (), crowd_numbers: Any = (), **areas: Any
) -> PlacedObjects:
    """Return objects on an image."""
    placed = np.array(boxes, np.float64).reshape(-1, 4)
    kinds = np.zeros(len(placed), np.int64) if numbers is None else np.array(numbers, np.int64)
    return PlacedObjects(
        boxes=placed,
        numbers=kinds,
        crowds=np.array(crowds, np.float64).reshape(-1, 4),
        crowd_numbers=np.array(crowd_numbers, np.int64),
        ignored=areas.get("ignored", nothing()),
        regions=areas.get("regions"),
    )


def found_of(boxes: Any, scores: Any, numbers: Any = None) -> Detections:
    """Return found objects."""
    placed = np.array(boxes, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(placed), np.int32) if numbers is None else np.array(numbers, np.int32)
    return Detections(placed, np.array(scores, np.float32), kinds)


def random_boxes(rng: np.random.Generator, count: int, extent: float = 60, side: float = 8) -> np.ndarray[Any, Any]:
    """Return boxes of which many overlap."""
    middles = rng.uniform(0, extent, (count, 2))
    sides = side * np.exp(rng.normal(0, 0.4, (count, 2)))
    return np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)


def overlap(one: Any, other: Any) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    either = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both
    return both / either if either > 0 else 0.0


def boxed(folder: Path, images: int = 10, size: tuple[int, int] = (24, 40), rows: str = "") -> Path:
    """Make dark images with light squares, and a CSV file of their boxes; return it. The last image has none."""
    from support.pictures import colored, save

    lines = ["path,xmin,ymin,xmax,ymax,label,split"]
    for number in range(images):
        pixels = colored(size, (60, 80, 70), number)
        name, split = f"images/{number}.png", "val" if number in (1, 6) else "train"
        for left, kind in ((3 + number, "iron"), (24, "wood")) if number < images - 1 else ():
            top = 2 + number % 3 * 5
            pixels[top : top + 6, left : left + 6] = (220, 60, 60) if kind == "iron" else (60, 60, 220)
            lines.append(f"{name},{left},{top},{left + 6},{top + 6},{kind},{split}")
        if number == images - 1:
            lines.append(f"{name},,,,,,{split}")
        save(folder / name, pixels)
    (folder / "data.csv").write_text("\n".join(lines) + "\n" + rows)
    return folder / "data.csv"
