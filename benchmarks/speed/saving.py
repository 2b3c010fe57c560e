"""Measures what saving states costs the steps of a training run: in the background, in the foreground, or not at all.

    python -m benchmarks.speed.saving [--preset NAME] [--size PIXELS] [--threads N] [--out FILE.json]

A turn is a number of real steps (data, gradients, clipping, AdamW). At most one state is saved in a turn, after its
first step. Writing that goes on after the last step does not count; its seconds are reported apart. Ratios compare
neighbouring turns, so that other jobs on the machine disturb both alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.machine import save_results
from fitcli.device.runtime import choose_runtime
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import train_settings
from fitcli.training.checkpointing.saver import Saver
from fitcli.training.checkpointing.snapshot import Progress, snapshot
from fitcli.training.gradients import Gradients
from fitcli.training.optimizer import build_optimizer
from fitcli.training.prepare import prepare
from fitcli.training.start_options import StartOptions
from models.build import build

MODES = ("none", "background", "foreground")


def make_data(folder: Path, size: int) -> None:
    """Create two classes of three images of noise."""
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
            info = ImageInfo(height=size, width=size, channels=3, dtype=np.dtype(np.uint8))
            with create_image(folder / label / f"{number}.tif", info) as image:
                image.write(Window(0, 0, size, size), pixels)


class Steps:
    """Runs real training steps, with a saver whose mode can be set."""

    def __init__(self, run: TrainingRun) -> None:
        self.run, self.progress, self.background = run, Progress(), True
        self.model = build(run.config.model, seed=0).train()
        self.optimizer = build_optimizer(self.model, run.settings)
        self.gradients = Gradients(run, self.model, lambda choice: None)
        gather: Callable[..., Any] = partial(snapshot, self.model, self.optimizer, None)
        self.saver = Saver(run, gather, lambda: None, self.progress, in_background=lambda: self.background)

    def step(self) -> None:
        """Run one optimizer step."""
        self.gradients.accumulate(self.progress.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1

    def turn(self, mode: str, steps: int) -> dict[str, float]:
        """Return the seconds of a turn, of the call that saves, and of the writing after the last step."""
        self.background, stall = mode == "background", 0.0
        began = time.perf_counter()
        for number in range(steps):
            self.step()
            if number == 0 and mode != "none":
                called = time.perf_counter()
                self.saver.save(self.progress)
                stall = time.perf_counter() - called
            self.saver.check()
        ended = time.perf_counter()
        self.saver.wait()
        return {"seconds": ended - began, "stall": stall, "left": time.perf_counter() - ended}


def measure(run: TrainingRun, turns: int, steps: int) -> dict[str, Any]:
    """Run turns in every mode, after one unmeasured turn of each."""
    work = Steps(run)
    for mode in MODES:
        work.turn(mode, 2)
    measured: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for _ in range(turns):
        for mode in MODES:
            measured[mode].append(work.turn(mode, steps))
    size = sum(file.stat().st_size for file in next((run.folder / "training/states").iterdir()).iterdir())
    none = measured["none"]
    rows = []
    for mode in MODES:
        ratios = [own["seconds"] / other["seconds"] for own, other in zip(measured[mode], none, strict=True)]
        rows.append(
            {
                "mode": mode,
                "seconds_per_step": statistics.median(turn["seconds"] for turn in measured[mode]) / steps,
                "ratio": statistics.median(ratios),
                "ratios": sorted(ratios),
                "stall_seconds": statistics.median(turn["stall"] for turn in measured[mode]),
                "left_seconds": statistics.median(turn["left"] for turn in measured[mode]),
            }
        )
    return {"state_bytes": size, "rows": rows}


def lines(results: dict[str, Any]) -> Iterator[str]:
    yield f"a state has {results['state_bytes'] / 1e6:.0f} MB"
    yield f"{'':12} {'s/step':>8} {'ratio':>7} {'stall s':>8} {'left s':>8}"
    for row in results["rows"]:
        yield (
            f"{row['mode']:12} {row['seconds_per_step']:8.3f} {row['ratio']:7.3f} {row['stall_seconds']:8.3f} "
            f"{row['left_seconds']:8.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5, help="turns in each mode")
    parser.add_argument("--steps", type=int, default=8, help="steps of a turn")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the results; other settings in it are kept")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        make_data(Path(folder) / "data", options.size)
        total = len(MODES) * (2 + options.turns * options.steps)
        settings = train_settings(preset=options.preset, batch_size=1, steps=total)
        runtime = choose_runtime(options.device, "fp32")
        launch = StartOptions(data=Path(folder) / "data", folder=Path(folder) / "run", runtime=runtime)
        run = prepare(settings, launch)[0]
        run.folder.mkdir()
        results = measure(run, options.turns, options.steps)
    print("\n".join(lines(results)))
    if options.out:
        given = {name: getattr(options, name) for name in ("preset", "size", "threads", "turns", "steps", "device")}
        before = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
        others = [row for row in before if row["settings"] != given]
        save_results(options.out, ["torch", "safetensors"], {"runs": [*others, {"settings": given, **results}]})


if __name__ == "__main__":
    main()
