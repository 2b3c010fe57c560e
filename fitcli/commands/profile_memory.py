"""`fit profile-memory`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.commands.options import DeviceName, Json, OptionalTaskName, PrecisionName, parse_size

if TYPE_CHECKING:
    from fitcli.profiling.peers import Peer
    from fitcli.profiling.rows import Mode
    from fitcli.profiling.subject import Conditions, Subject

PRESET_HELP = r"Or a preset: debug, nano, mini, tiny, small, base or large. \[default: base; for autoregressive: small]"
"""Help of `--preset`, which has no default beside `--checkpoint`; the tasks have it as `profiled_preset`."""


def _sizes(text: str) -> list[int]:
    """Return the sizes in a text such as "4096" or "4096,8192"."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is no size in pixels, or several with commas between them")
    return [int(part) for part in parts]


def profile_memory(
    checkpoint: Annotated[Path | None, typer.Option(help="Run folder to ask about.", metavar="RUN")] = None,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP, metavar="NAME")] = None,
    task: OptionalTaskName = None,
    mode: Annotated[Literal["train", "infer"] | None, typer.Option(help="One of them, else both.")] = None,
    res: Annotated[
        list[Any] | None,
        typer.Option(parser=_sizes, metavar="N[,N]", help="Pixels per side, else 6400; repeatable."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per training step.")] = 1,
    group_parallel: Annotated[
        int, typer.Option("--group-parallel", min=1, help="Devices that share each image in training.")
    ] = 1,
    method: Annotated[
        Literal["auto", "estimate", "measure"], typer.Option(help="auto measures what fits on the device at hand.")
    ] = "auto",
    budget: Annotated[
        int | None,
        typer.Option(parser=parse_size, metavar="SIZE", help="Memory of the device: its own, or 16GiB without one."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Peers to put beside it in the table and the plot: vit,swin.")
    ] = None,
    json: Json = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Picture of memory and computing by size.")] = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Say what fits into memory, without running it: bytes and operations of training and inference.

    Without a GPU the answer is estimated for one with 16 GiB; --device cpu asks about this machine.

    `fit train` takes the first way that fits into --memory. The row layers is for comparison: it is never taken.
    """
    from fitcli.errors import FitError
    from fitcli.profiling.peers import parse_peers
    from fitcli.profiling.plot import check_plot
    from fitcli.profiling.report import report_json, report_table
    from fitcli.profiling.subject import conditions_for, subject_for

    subject = subject_for(checkpoint, preset, task)
    conditions = conditions_for(device, precision, batch_size, budget, method, group_parallel)
    peers = parse_peers(compare, subject.task, subject.config)
    modes: list[Mode] = ["train", "infer"] if mode is None else [mode]
    if group_parallel > 1:
        modes = ["train"]
        if mode == "infer":
            raise FitError("--group-parallel is of training: in inference each process plans as if it were alone")
    sizes = [size for sizes in res or [[6400]] for size in sizes]
    if plot is not None:
        check_plot(plot)
    if json:
        console.json(report_json(subject, conditions, modes, sizes, peers))
    else:
        report_table(subject, conditions, modes, sizes, peers)
    if plot is not None:
        _plot(plot, subject, conditions, peers)


def _plot(path: Path, subject: Subject, conditions: Conditions, peers: list[Peer]) -> None:
    from fitcli.profiling.plot import draw

    draw(path, subject, conditions, peers)
    console.log(f"{path}: written")
