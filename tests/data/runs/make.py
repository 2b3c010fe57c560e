"""Makes the images and runs in this folder, and writes what `fit` says of them to `expected.json`.

    python tests/data/runs/make.py

It was run once, in a checkout of the version that README.md names, and only works there. Running it with a later
version would prove nothing: what that version writes would be compared with itself.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image
from safetensors.numpy import save_file

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1])]

import test_old_runs as old  # noqa: E402
from command_line import Fit  # noqa: E402

from fitcli import __version__  # noqa: E402
from models import presets  # noqa: E402

SHAPES = ((70, 90), (64, 64), (48, 83), (52, 61), (96, 72), (57, 48))
"""Height and width of the images of each class: few are whole groups."""

SMALLER: dict[str, tuple[dict[str, presets.Preset], dict[str, Any]]] = {
    "classify": (presets.PRESETS, {"group": 4}),
    "several": (presets.PRESETS, {"plan": "(1)1", "group": 4, "pool_heads": 2}),
    "diffusion": (presets.DENOISERS, {"group": 4}),
    "autoregressive": (presets.DECODERS, {}),
}
"""The presets of the runs that are kept, and how they differ beside their widths: theirs would take megabytes."""


def picture(shape: tuple[int, int], shape_name: str, seed: int) -> np.ndarray:
    """Dots or stripes on ground, in few colours; nothing on the lower third: [height width 3]."""
    generator = np.random.default_rng(seed)
    ground, mark = generator.integers(0, 9, (2, 3)) * 16 + (16 if shape_name == "dots" else 96)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    if shape_name == "dots":
        row, column = generator.integers(6, 12, 2)
        marked = (rows % row - row // 2) ** 2 + (columns % column - column // 2) ** 2 < 9
    else:
        marked = (rows + generator.integers(-1, 2) * columns) % int(generator.integers(7, 13)) < 4
    pixels = np.where(marked[..., None], mark, ground) + generator.integers(0, 2, (*shape, 1)) * 16
    pixels[2 * shape[0] // 3 :] = ground
    return np.asarray(pixels, dtype=np.uint8)


def make_images() -> None:
    """The data set, as a folder of classes and as a table with more columns."""
    shutil.rmtree(HERE / "images", ignore_errors=True)
    lines = []
    for kind in ("dots", "stripes"):
        (HERE / "images" / kind).mkdir(parents=True)
        for number, shape in enumerate(SHAPES):
            pixels = picture(shape, kind, 10 * number + len(kind))
            path = HERE / "images" / kind / f"{number}{('.png', '.tif')[number % 2]}"
            if path.suffix == ".png":
                Image.fromarray(pixels).save(path, optimize=True)
            else:
                tifffile.imwrite(path, pixels, compression="zlib", photometric="rgb", tile=(32, 32))
            tone = "dark" if number < 3 else "light"
            marks = [name for name, is_there in (("red", number % 2), ("blue", (number + len(kind)) % 3)) if is_there]
            split = ("train", "train", "val", "train", "test", "train")[number]
            lines.append((path.relative_to(HERE).as_posix(), kind, tone, "|".join(marks), split))
    with (HERE / "several.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [("path", "label:shape", "label:tone", "labels:marks", "split"), *lines]
        )


def make_runs(fit: Fit, commands: dict[str, Any]) -> None:
    """The runs that are kept, without what belongs to the process that wrote them."""
    for name, (known, more) in SMALLER.items():
        before = dict(known)
        known |= {key: replace(preset, token_width=8, latent_width=8, head=4, **more) for key, preset in before.items()}
        run = HERE / name
        shutil.rmtree(run, ignore_errors=True)
        words = (word.replace("{runs}", str(HERE)).replace("{out}", str(run)) for word in commands[name]["command"])
        result = fit(*words)
        assert result.exit_code == 0, result.output
        shutil.rmtree(run / "tensorboard")
        (run / "training" / "lock").unlink()
        known |= before


def make_answers(fit: Fit, expected: dict[str, Any]) -> None:
    """What this version says."""
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        replay = old.Replay(fit, Path(folder))
        for name, entry in expected["asked"].items():
            entry["document"], found = replay.asked(name)
            entry["arrays"] = {key: old.sha256({"": array}) for key, array in found.items()}
            arrays |= {f"{name}/{key}": np.ascontiguousarray(array) for key, array in found.items()}
        for runs, trained in (("begun", replay.begun), ("resumed", replay.resumed)):
            for name, entry in expected[runs].items():
                run = trained(name)
                entry["metrics"], entry["weights"] = old.metrics(run), old.weights(run)
                if runs == "begun":
                    entry["config"] = json.loads((run / "config.json").read_text())
    expected["written_by"] = f"fit {__version__}"
    expected["machine"] = old.machine()
    save_file(arrays, HERE / "expected.safetensors")


def main() -> None:
    torch.set_num_threads(1)
    expected, fit = old.EXPECTED, Fit()
    make_images()
    make_runs(fit, expected["begun"])
    make_answers(fit, expected)
    (HERE / "expected.json").write_text(compact(expected) + "\n")


def compact(expected: dict[str, Any]) -> str:
    """JSON with one line for each part of each command's outcome, and for each line of a log."""

    def part(value: Any) -> str:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n" + ",\n".join(f"    {json.dumps(entry)}" for entry in value) + "\n   ]"
        return json.dumps(value)

    def outcome(entry: dict[str, Any]) -> str:
        return "{\n" + ",\n".join(f"   {json.dumps(key)}: {part(value)}" for key, value in entry.items()) + "\n  }"

    def group(value: Any) -> str:
        if not isinstance(value, dict):
            return json.dumps(value)
        return "{\n" + ",\n".join(f"  {json.dumps(key)}: {outcome(entry)}" for key, entry in value.items()) + "\n }"

    return "{\n" + ",\n".join(f" {json.dumps(key)}: {group(value)}" for key, value in expected.items()) + "\n}"


if __name__ == "__main__":
    main()
