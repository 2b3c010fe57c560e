"""Measures what reports add: that of an evaluation of many images, and the page of a training run.

    python -m benchmarks.speed.reports [--images 500] [--side 256] [--out FILE.json]

evaluation: seconds of the report beside the scores. Goal: below 10 s for 500 images.
training: seconds of each page of a run with as many steps as there are images, and its share of the time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.support.machine import save_results

COLORS = {"blue": (40, 60, 200), "red": (200, 60, 40), "green": (60, 190, 70)}


class Timed:
    """Measures the calls of a function of a module or class."""

    def __init__(self, owner: Any, name: str) -> None:
        self.seconds: list[float] = []
        function = getattr(owner, name)

        def measured(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds.append(time.perf_counter() - began)

        setattr(owner, name, measured)


def make_images(folder: Path, count: int, side: int) -> None:
    """Write images of three classes, which differ in colour."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label, color = list(COLORS.items())[number % len(COLORS)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        pixels = (np.array(color) + rng.normal(0, 40, (side, side, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / label / f"{number}.png")


def measure(work: Path, count: int, side: int) -> dict[str, Any]:
    """Train and evaluate, and return the seconds of the reports."""
    import fitcli.evaluation.evaluate
    from fitcli.app import app
    from fitcli.training.run_page import RunPage

    report, look, write = (
        Timed(fitcli.evaluation.evaluate, "write_report"),
        Timed(RunPage, "look"),
        Timed(RunPage, "write"),
    )
    make_images(work / "data", count, side)
    options = ["--preset", "debug", "--steps", str(count), "--batch-size", "1", "--device", "cpu", "--size", "64"]
    began = time.perf_counter()
    app(["train", str(work / "data"), "--out", str(work / "run"), *options], standalone_mode=False)
    trained, began = time.perf_counter() - began, time.perf_counter()
    page = work / "report.html"
    places = [str(work / "data"), "--checkpoint", str(work / "run"), "--report", str(page)]
    app(["evaluate", *places, "--split", "all", "--device", "cpu"], standalone_mode=False)
    return {
        "images": count,
        "evaluation_seconds": time.perf_counter() - began - sum(report.seconds),
        "report_seconds": sum(report.seconds),
        "report_bytes": page.stat().st_size,
        "training_seconds": trained,
        "page_seconds": [drawn + written for drawn, written in zip(look.seconds, write.seconds, strict=False)],
        "page_share": (sum(look.seconds) + sum(write.seconds)) / trained,
    }


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        figures = measure(Path(work), arguments.images, arguments.side)
    print(figures)
    save_results(arguments.out, ("torch", "numpy", "pillow"), figures)


if __name__ == "__main__":
    main()
