"""Option types that several commands share: one wording, one type. Never imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DeviceName = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE", show_default=True)
]
PrecisionName = Annotated[
    Literal["auto", "fp32", "bf16"],
    typer.Option("--precision", help="Of the matrix products; auto is bf16 on a GPU that has it, else fp32."),
]
Images = Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Image files, zarr folders or glob patterns.")]
Checkpoint = Annotated[Path, typer.Option("--checkpoint", help="Run folder of `fit train`.", metavar="RUN")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SkipBackground = Annotated[
    bool, typer.Option("--skip-background", help="Leave out groups of patches that are all but constant.")
]
BackgroundThreshold = Annotated[
    float,
    typer.Option(min=0, max=1, help="Share of the range of the pixels below which a group is background."),
]
