"""Option types that several commands share: one wording, one type. Never imports torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fitcli.errors import FitError
from fitcli.images.window import Window

if TYPE_CHECKING:
    from fitcli.tasks.encoding.encode import Background

DeviceName = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE", show_default=True)
]
PrecisionName = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option(
        "--precision",
        help="Of matrix products; auto is bf16 on a GPU that has it, and for classify and embed on a CPU; else fp32.",
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="Have torch.compile fuse what lies between matrix products: takes a minute or more first. For GPUs; not "
        "measured on one yet.",
    ),
]
Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="Image files, zarr folders or glob patterns.")]
CheckpointFolder = Annotated[Path, typer.Option("--checkpoint", help="Run folder of `fit train`.", metavar="RUN")]


LEAST_MEMORY = 10**6
"""In bytes."""


def background_share(skip: bool, threshold: float) -> float | None:
    """From `--skip-background` and `--background-threshold` to a share of the range of the pixels; None for neither.

    Raises:
        FitError: A threshold, and nothing that it is for.
    """
    if not skip and threshold != BACKGROUND_THRESHOLD:
        raise FitError("--background-threshold is for --skip-background; give both, or leave it out")
    return threshold if skip else None


def background_choice(skip: bool | None, threshold: float) -> Background:
    """The same where a model may have been trained with it: "as trained" where neither option is given.

    Raises:
        FitError: As above.
    """
    asked = skip is not None or threshold != BACKGROUND_THRESHOLD
    return background_share(bool(skip), threshold) if asked else "as trained"


def given(context: typer.Context) -> frozenset[str]:
    """Names of the parameters that the user gave, on the command line or in a recipe, be it their default values."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name != "DEFAULT")


def defaulted(context: typer.Context) -> frozenset[str]:
    """Names of the parameters that have their values from the defaults of the call: from a recipe."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "DEFAULT_MAP")


def parse_size(text: str) -> int:
    """Bytes of "4GiB", "500MB", "2G", "1.5 GiB" or "1000000": K, M, G, T and KiB, ... count in 1024, KB, ... in 1000.

    Raises:
        typer.BadParameter: It is no such size, or of less than a megabyte: its unit was forgotten.
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


def parse_window(text: str) -> Window:
    """The window of "top,left,height,width" in pixels.

    Raises:
        typer.BadParameter: It is no such window.
    """
    match = re.fullmatch(r" *(\d+) *, *(\d+) *, *(\d+) *, *(\d+) *", text, flags=re.ASCII)
    if match is None or "0" in match.groups()[2:]:
        raise typer.BadParameter(f"{text!r} is no window; give TOP,LEFT,HEIGHT,WIDTH in pixels like 0,512,256,256")
    return Window(*map(int, match.groups()))


Memory = Annotated[
    int | None,
    typer.Option(
        "--memory",
        parser=parse_size,
        metavar="SIZE",
        help="Most memory that may be used, like 4GiB: of the device that computes; on a CPU in all, beyond that of "
        "Python with torch. By default most of what a device has free, half of what a CPU has.",
    ),
]
StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="FOLDER", help="Keep the state of the work here, to go on where it was after a crash."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SkipBackground = Annotated[
    bool, typer.Option("--skip-background", help="Leave out groups of patches that are all but constant.")
]
SkipBackgroundOrNot = Annotated[
    bool | None,
    typer.Option(
        "--skip-background/--no-skip-background",
        help="Leave out groups of patches that are all but constant, or not; as in training where neither is given.",
        show_default=False,
    ),
]
BACKGROUND_THRESHOLD = 0.02
"""Of `BackgroundThreshold`, where none is given. Here, so that `fit --help` need not wait for numpy."""

BackgroundThreshold = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Share of the range of the pixels below which a group is background."
    ),
]
