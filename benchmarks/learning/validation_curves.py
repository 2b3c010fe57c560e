"""Compares how smoothly runs learn, from their metrics.jsonl: a table, and a picture of their validation losses.

    python -m benchmarks.learning.validation_curves DATASET=BEFORE,AFTER ... [--earlier FILE.json] [--plot FILE.png]
        [--out FILE.json]

BEFORE and AFTER are run folders of `fit train` on the same data set, with other defaults. Steps to 95 % are those after
which the validation accuracy stays there. A drop is a validation whose accuracy is more than ten points below the one
before. `--earlier` takes the curves of other data sets from the results of an earlier call.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.support.machine import save_results

GOOD, DROP = 0.95, 0.1
"""Accuracy that counts as learnt; change of the accuracy from one validation to the next that counts as a drop."""


class Validated(NamedTuple):
    """A validation of a run.

    Attributes:
        step: Number of steps done.
        loss: Mean loss over the validation images.
        accuracy: Share of them that is classified correctly.
    """

    step: int
    loss: float
    accuracy: float


def read_curve(run: Path) -> list[Validated]:
    """Return the validations of a run, in order."""
    entries = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [Validated(e["step"], e["loss"], e["accuracy"]) for e in entries if e["kind"] == "validation"]


def smoothness(curve: Sequence[Validated]) -> dict[str, Any]:
    """Return the numbers of the table."""
    later = [each for each in curve if each.step > curve[-1].step / 4]
    below = [each.step for each in curve if each.accuracy < GOOD]
    stays = [each.step for each in curve if not below or each.step > below[-1]]
    return {
        "largest_loss": max(each.loss for each in later),
        "drops": sum(one.accuracy - two.accuracy > DROP + 1e-9 for one, two in pairwise(curve)),
        "steps_to_good": stays[0] if stays else None,
        "least_loss": min(each.loss for each in curve),
        "last_accuracy": curve[-1].accuracy,
    }


def row(name: str, numbers: dict[str, Any]) -> str:
    """Return a row of the table in Markdown."""
    steps = "never" if numbers["steps_to_good"] is None else numbers["steps_to_good"]
    return (
        f"| {name} | {numbers['largest_loss']:.2f} | {numbers['drops']} | {steps} | {numbers['least_loss']:.2f} "
        f"| {numbers['last_accuracy']:.0%} |"
    )


def plot(curves: dict[str, tuple[list[Validated], list[Validated]]], path: Path) -> None:
    """Draw the validation losses, a panel per data set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(curves), 2.4), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for panel, (name, pair) in zip(panels, curves.items(), strict=True):
        for label, color, curve in zip(("before", "after"), ("0.6", "C0"), pair, strict=True):
            panel.plot([each.step for each in curve], [each.loss for each in curve], color=color, label=label)
        panel.set(title=name, xlabel="steps", ylim=(0, None))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("validation loss")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def earlier_curves(path: Path | None) -> dict[str, tuple[list[Validated], list[Validated]]]:
    """Return the curves that a file of results holds; none without a file."""
    found = {} if path is None else json.loads(path.read_text(encoding="utf-8"))["curves"]
    return {name: ([Validated(*each) for each in before], [Validated(*each) for each in after])
            for name, (before, after) in found.items()}  # fmt: skip


def data_set(text: str) -> tuple[str, tuple[Path, Path]]:
    """Parse `DATASET=BEFORE,AFTER`."""
    name, _, runs = text.partition("=")
    before, _, after = runs.partition(",")
    if not name or not before or not after:
        raise argparse.ArgumentTypeError(f"{text!r} is not DATASET=BEFORE,AFTER")
    return name, (Path(before), Path(after))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=data_set, nargs="+", metavar="DATASET=BEFORE,AFTER")
    parser.add_argument("--earlier", type=Path, help="JSON file with the curves of other data sets")
    parser.add_argument("--plot", type=Path, help="picture of the curves")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers and the curves")
    options = parser.parse_args()
    curves = earlier_curves(options.earlier)
    curves |= {name: (read_curve(before), read_curve(after)) for name, (before, after) in options.runs}
    print("| data set | largest loss | drops | steps to 95 % | least loss | accuracy at the end |")
    print("|---|---|---|---|---|---|")
    for name, pair in curves.items():
        for label, curve in zip(("before", "after"), pair, strict=True):
            print(row(f"{name}, {label}", smoothness(curve)))
    if options.plot is not None:
        plot(curves, options.plot)
    save_results(options.out, ["torch"], {"curves": curves})


if __name__ == "__main__":
    main()
