"""Draws digits with more and less guidance, and for some diffusion times only, and compares the samples.

    python -m benchmarks.learning.guidance NAME=RUN ... --data FOLDER [--plot FILE.png] [--out FILE.json]

The runs are those of `digits_diffusion.py` or `ablations.py`. Each draws 200 digits (20 steps of `dpm`, the same noise)
with every guidance of `WEIGHTS` at all times, and with guidance 1 at the times of `TIMES`. read and sliced: see
`ablations.py`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.ablations import SAMPLES, distance_ratios
from benchmarks.learning.digits import FITTED, Digits, read_digits
from benchmarks.learning.digits_diffusion import draw, fit_reader, flat
from benchmarks.support.machine import save_results
from fitcli.device.runtime import choose_runtime
from fitcli.tasks.diffusion.generate_options import GuidedTimes
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
TIMES = (GuidedTimes(0.3, 1.0), GuidedTimes(0.0, 0.8), GuidedTimes(0.3, 0.8))


def measure(run: Path, digits: Digits, reader: Any) -> list[dict[str, Any]]:
    """Return a row for each kind of guidance."""
    checkpoint = load_run(run, choose_runtime("cpu", "fp32"), DIFFUSION)
    targets: NDArray[np.int64] = np.arange(SAMPLES) % 10
    rows = []
    for weight, times in [*((weight, None) for weight in WEIGHTS), *((1.0, times) for times in TIMES)]:
        sampling = argparse.Namespace(steps=20, sampler="dpm", guidance=weight, guidance_interval=times)
        drawn = draw(checkpoint, targets, sampling)
        rows.append(
            {
                "guidance": weight,
                "times": None if times is None else [times.first, times.last],
                "read": float(np.mean(reader.predict(flat(drawn)) == targets)),
                "sliced": distance_ratios(drawn, digits[FITTED:], None)["sliced"],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def plot(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the share that is read and the two distances over the guidance at all times, a line for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    panels = figure.subplots(1, 3)
    for name, rows in found.items():
        everywhere = [row for row in rows if row["times"] is None]
        weights = [row["guidance"] for row in everywhere]
        panels[0].plot(weights, [100 * row["read"] for row in everywhere], marker=".", label=name)
        for level, panel in enumerate(panels[1:]):
            panel.plot(weights, [row["sliced"][level] for row in everywhere], marker=".")
    titles = ("read as their label, %", "sliced distance, 32 x 32, ratio", "sliced distance, 16 x 16, ratio")
    for panel, title in zip(panels, titles, strict=True):
        panel.set(title=title, xlabel="--guidance")
        panel.title.set_fontsize(9)
        panel.grid(alpha=0.3)
    for panel in panels[1:]:
        panel.set_ylim(0, None)
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def named_run(text: str) -> tuple[str, Path]:
    """Parse `NAME=RUN`."""
    name, _, run = text.partition("=")
    if not name or not run:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=RUN")
    return name, Path(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=named_run, nargs="+", metavar="NAME=RUN")
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--plot", type=Path, help="picture of the curves")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    digits, labels = read_digits(options.data)
    reader = fit_reader(digits[:FITTED], labels[:FITTED])
    found = {name: measure(run, digits, reader) for name, run in options.runs}
    if options.plot is not None:
        plot(found, options.plot)
    save_results(options.out, ["torch", "numpy", "scikit-learn"], {"runs": found})


if __name__ == "__main__":
    main()
