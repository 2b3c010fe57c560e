"""`fit demo FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli import console
from fitcli.runs.train_settings import LARGEST_SEED


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write; absent or empty.")],
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Another seed gives other images.")] = 0,
) -> None:
    """Make a small data set of real TIFF, OME-Zarr and PNG files, to try every command on."""
    from fitcli.demo.dataset import make_demo

    with console.progress("making images") as advance:
        count = make_demo(folder, seed, advance)
    console.data(f"{folder}: {count} images")
    console.hint(f"next: fit train {folder} --out RUN, then fit classify {folder / 'large.tif'} --checkpoint RUN")
