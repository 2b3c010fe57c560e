"""Plots peak memory and operations of a training step against the size of the image."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitcli.errors import FitError
from fitcli.files.output_checks import check_output_file
from fitcli.files.publish import followed, publish_file
from fitcli.memory.estimate import Estimate, estimate_step
from fitcli.memory.plan import named_plans
from fitcli.profiling.peer_estimate import estimate_peer
from fitcli.profiling.peers import Peer
from fitcli.profiling.profile import training_step
from fitcli.profiling.subject import Conditions, Subject

SIDES = (512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768)
"""Sides of the images that are plotted, in pixels."""

KINDS = (".png", ".svg", ".pdf", ".jpg")
"""Suffixes of the files that can be written."""

SHOWN = ("plain", "layers", "selective", "recompute", "stream")
"""Executions that are plotted; the others lie between them."""

Curve = list[tuple[int, Estimate]]


def check_plot(path: Path) -> None:
    """Raise FitError if a plot cannot be written: no matplotlib, an unknown suffix, or no such folder."""
    if importlib.util.find_spec("matplotlib") is None:
        raise FitError("--plot needs matplotlib; install it with: pip install 'fitcli[plot]'")
    if path.suffix.lower() not in KINDS:
        raise FitError(f"--plot {path}: the suffix must be {', '.join(KINDS)}")
    check_output_file("--plot", path)


def draw(path: Path, subject: Subject, conditions: Conditions, peers: list[Peer]) -> None:
    """Plot training steps and write the plot.

    Args:
        path: File to write; its suffix determines the format, see `check_plot`.
        subject: The model.
        conditions: Device, precision and batch.
        peers: Peers to plot beside the model.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    memory, computing = figure.subplots(1, 2)
    for name, curve in curves(subject, conditions, peers).items():
        sides = [side for side, _ in curve]
        style = {"linestyle": "--" if name in peers or "checkpointed" in name else "-", "marker": ".", "label": name}
        memory.plot(sides, [each.peak_bytes / 2**30 for _, each in curve], **style)
        computing.plot(sides, [each.total_flops / 1e12 for _, each in curve], **style)
    memory.axhline(conditions.budget_bytes / 2**30, color="black", linewidth=0.8)
    memory.annotate("budget", (SIDES[0], conditions.budget_bytes / 2**30 * 1.05), fontsize=8)
    _label(memory, "peak memory of a training step, GiB")
    _label(computing, "TFLOP of a training step")
    memory.legend(fontsize=8)
    figure.suptitle(f"{subject.name}, {conditions.precision}, batch of {conditions.images}: estimated", fontsize=10)
    with publish_file(followed(path)) as new:
        figure.savefig(new, dpi=130, format=path.suffix[1:].lower())


def curves(subject: Subject, conditions: Conditions, peers: list[Peer]) -> dict[str, Curve]:
    """Return the estimates of a step at each size, by name of the curve."""
    by_name: dict[str, Curve] = {}
    one = training_step(subject, conditions, 1)
    for name in SHOWN:
        plan = named_plans(one)[name]
        by_name[f"FIT, {name}"] = [
            (side, estimate_step(replace(one, groups=subject.side(side, training=True) ** 2), plan)) for side in SIDES
        ]
    for peer in peers:
        for checkpointed in (False, True):
            name = f"{peer}, checkpointed" if checkpointed else str(peer)
            by_name[name] = [(side, estimate_peer(peer, one, side, checkpointed)) for side in SIDES]
    return by_name


def _label(axes: Any, what: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="pixels per side", ylabel=what)
    axes.set_xticks(SIDES[::3], [str(side) for side in SIDES[::3]])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
