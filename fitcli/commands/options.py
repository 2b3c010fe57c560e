"""Options that several commands share: one wording, one type. Never imports torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.runs.train_settings import IMAGES
from fitcli.tasks.registry import DEFAULT_TASK, TASKS
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD, background_share

if TYPE_CHECKING:
    from fitcli.images.read_as import ReadAs
    from fitcli.tasks.encoding.encode import Background

COMPUTING = "Computing"
"""Panel of the options that say where and how a model runs."""

LEAST_TIMEOUT, LONGEST_TIMEOUT = 0.05, 1e6
"""Least and largest value of `--timeout` but 0, in minutes."""

LEAST_MEMORY = 10**6
"""Least value of `--memory`, in bytes. A smaller one has lost its unit."""


def background_choice(skip: bool | None, threshold: float) -> Background:
    """Return the share of the pixel range below which groups are left out; "as trained" without an option.

    Raises:
        FitError: A threshold without `--skip-background`.
    """
    asked = skip is not None or threshold != BACKGROUND_THRESHOLD
    return background_share(bool(skip), threshold) if asked else "as trained"


def reading_choice(
    level: int | None,
    mpp: float | None,
    series: str | None = None,
    z: str | None = None,
    t: int | None = None,
    channels: str | None = None,
) -> ReadAs | None:
    """Return what is read of each image; None without an option, for what was read in training.

    Raises:
        FitError: A level and a scale are given, or a value is impossible.
    """
    from fitcli.images.read_as import ReadAs

    chosen = {"level": level, "mpp": mpp, "series": series, "z": z, "t": t, "channels": channels}
    given = {name: value for name, value in chosen.items() if value is not None}
    return ReadAs(**given) if given else None  # type: ignore[arg-type]  # each value has the type of its field


def given(context: typer.Context) -> frozenset[str]:
    """Return the names of the parameters that the user gave, on the command line or in a recipe."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name != "DEFAULT")


def defaulted(context: typer.Context) -> frozenset[str]:
    """Return the names of the parameters whose values come from a recipe."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "DEFAULT_MAP")


def answer_choices(one_per_place: bool | None) -> dict[str, Any]:
    """Return what a user chooses for the answers of a run, see `TaskDetails.chosen`."""
    return {} if one_per_place is None else {"one_per_place": one_per_place}


def parse_size(text: str) -> int:
    """Return the bytes of "4GiB", "500MB", "2G", "1.5 GiB" or "1000000".

    K, M, G, T and KiB, MiB, ... count in 1024; KB, MB, ... in 1000.

    Raises:
        typer.BadParameter: The text is no size, or a size below a megabyte, which has lost its unit.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(?:([KMGT])(i?B)?|B)?", text.strip(), flags=re.IGNORECASE)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size; give one like 4GiB, 500MB or 2G")
    number, unit, ending = match.groups()
    scale = 1000 if (ending or "").upper() == "B" else 1024
    size = int(float(number) * (scale ** ("KMGT".index(unit.upper()) + 1) if unit else 1))
    if size < LEAST_MEMORY:
        raise typer.BadParameter(f"{text!r} is {size} bytes, too little for anything; give a size like 4GiB")
    return size


def precision_option(note: str) -> Any:
    """Return `--precision`; `note` ends its help text and says what auto is."""
    # The name of the value is short: with the three words there, all texts of the panel would be folded.
    text = f"auto, fp32 or bf16{note}"
    return typer.Option("--precision", help=text, metavar="NAME", show_default=False, rich_help_panel=COMPUTING)


def compile_option(note: str = "") -> Any:
    """Return `--compile`; `note` ends its help text."""
    text = f"Compile layers; for GPUs{note}."
    return typer.Option("--compile/--no-compile", help=text, show_default=False, rich_help_panel=COMPUTING)


def parse_timeout(text: str) -> float:
    """Return a number of minutes, 0 for no limit.

    Raises:
        typer.BadParameter: The text is no number, or too short a time.
    """
    try:
        minutes = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number of minutes") from None
    if minutes != 0 and not LEAST_TIMEOUT <= minutes <= LONGEST_TIMEOUT:
        raise typer.BadParameter(
            f"{text} minutes; give at least {LEAST_TIMEOUT} and at most {LONGEST_TIMEOUT:,.0f}, or 0 to wait for ever"
        )
    return minutes


def timeout_option(panel: str = COMPUTING) -> Any:
    """Return `--timeout`, under a heading of `--help`."""
    text = f"Minutes of silence that end a job. [default: {TIMEOUT_MINUTES:g}]".replace("[", r"\[")
    return typer.Option(
        "--timeout", parser=parse_timeout, metavar="X", help=text, show_default=False, rich_help_panel=panel
    )


def memory_option(note: str = "") -> Any:
    """Return `--memory`; `note` ends its help text."""
    return typer.Option("--memory", parser=parse_size, metavar="SIZE", help=f"Memory limit, like 4GiB{note}.")


def state_option(note: str = "") -> Any:
    """Return `--state`; `note` ends its help text."""
    return typer.Option("--state", metavar="FOLDER", help=f"Folder for unfinished work, which a rerun continues{note}.")


if TYPE_CHECKING:
    TaskName = str
    OptionalTaskName = str | None
else:
    _TASK = f"{', '.join(TASKS[:-1])} or {TASKS[-1]}."
    TaskName = Annotated[Literal[TASKS], typer.Option("--task", help=_TASK, metavar="TASK")]
    # None, because a run folder has its own task.
    OptionalTaskName = Annotated[
        Literal[TASKS] | None, typer.Option("--task", help=rf"{_TASK} \[default: {DEFAULT_TASK}]", metavar="TASK")
    ]

DeviceName = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto, cpu, cuda, cuda:N, mps.",
        metavar="DEVICE",
        show_default=False,
        rich_help_panel=COMPUTING,
    ),
]
PrecisionName = Annotated[Literal["auto", "fp32", "bf16"], precision_option(".")]
InferencePrecisionName = Annotated[
    Literal["auto", "fp32", "bf16"],
    precision_option("; auto is bf16 on CPUs and GPUs that are fast in it, fp16 on other GPUs, else fp32."),
]
Compile = Annotated[bool, compile_option()]
CompileIfItPays = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        help=r"Compile layers. \[default: auto]",
        show_default=False,
        rich_help_panel=COMPUTING,
    ),
]
Timeout = Annotated[float, timeout_option()]
GroupParallel = Annotated[
    int,
    typer.Option(
        "--group-parallel",
        min=1,
        metavar="N",
        help="Processes per image, with torchrun: all of the job.",
        show_default=False,
    ),
]
Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files, zarr folders or glob patterns.")]
CheckpointFolder = Annotated[Path, typer.Option("--checkpoint", help="Run folder of `fit train`.", metavar="RUN")]
Memory = Annotated[int | None, memory_option()]
StateFolder = Annotated[Path | None, state_option()]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
OnePerPlace = Annotated[
    bool | None,
    typer.Option(
        "--one-per-place/--all-per-place",
        help="Of found objects that overlap, keep the best of all classes, or of each; default: as in training.",
        show_default=False,
    ),
]
ImageFolder = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of a CSV file's images.", metavar="FOLDER", rich_help_panel=IMAGES),
]
Mpp = Annotated[
    float | None,
    typer.Option("--mpp", metavar="X", help="Microns per pixel to read at; default: as in training."),
]
PyramidLevel = Annotated[
    int | None, typer.Option("--level", min=0, metavar="N", help="Pyramid level to read; default: as in training.")
]
SeriesName = Annotated[
    str | None,
    typer.Option(
        "--series",
        metavar="NAME",
        help="Image in each file, a number or name; default: as in training.",
    ),
]
FocalPlane = Annotated[
    str | None,
    typer.Option("--z", metavar="PLANE", help="Number of the focal plane, max or mean; default: as in training."),
]
TimePoint = Annotated[
    int | None, typer.Option("--t", min=0, metavar="N", help="Time point to read; default: as in training.")
]
Channels = Annotated[
    str | None,
    typer.Option("--channels", metavar="LIST", help="Channels, as 0,2 or names, or all; default: as in training."),
]
SkipBackground = Annotated[
    bool | None,
    typer.Option(
        "--skip-background/--no-skip-background",
        help="Skip background groups; default: as in training.",
        show_default=False,
    ),
]
BackgroundThreshold = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="SHARE",
        help="Share of the training pixels' range below which a group is background.",
    ),
]
