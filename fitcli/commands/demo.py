"""`fit demo FOLDER`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from fitcli import console
from fitcli.files.wording import counted
from fitcli.runs.train_settings import LARGEST_SEED


class _Demo(NamedTuple):
    """The data set of a task.

    Attributes:
        module: Module whose `make_demo` writes it.
        next: Commands to suggest, with `{folder}` for the folder of the data set.
    """

    module: str
    next: str


DEMOS = {
    "classify": _Demo(
        "fitcli.demo.dataset", "fit train {folder} --out RUN, then fit classify {folder}/large.tif --checkpoint RUN"
    ),
    "segment": _Demo(
        "fitcli.demo.keyed_dataset",
        "fit train {folder}/small.csv --task segment --classes {folder}/classes.json --preset mini --batch-size 16 "
        "--steps 900 --out SMALL, then fit train {folder}/scenes.csv --task segment --classes {folder}/classes.json "
        "--preset mini --steps 800 --learning-rate 7e-4 --start-from SMALL --out RUN, then "
        "fit segment {folder}/large.tif --checkpoint RUN --out map.tif",
    ),
    "detect": _Demo(
        "fitcli.demo.mark_dataset",
        "fit train {folder}/marks.csv --task detect --preset mini --batch-size 2 --epochs 22 --learning-rate 2e-3 "
        "--out RUN, then fit detect {folder}/large.tif --checkpoint RUN --out marks.geojson",
    ),
}
"""The data sets by task. A task without a line here trains on that of another: every task reads the images."""


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write; absent or empty.")],
    task: Annotated[
        Literal["classify", "segment", "detect"],
        typer.Option(help="Task that the data set is for; one for classify also suits tasks that generate images."),
    ] = "classify",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Another seed gives other images.")] = 0,
) -> None:
    """Make a small data set of real image files, to try every command on.

    For classify: landscapes of 512 to 2048 pixels with small marks; TIFF, OME-Zarr and PNG files, a folder per class.
    For segment: scenes of 128 to 384 pixels with label images, in which a small key names two of the textures.
    For detect: scenes of 512 pixels with small marks, and a CSV file of their boxes.
    """
    make = import_module(DEMOS[task].module).make_demo
    with console.progress("making images") as advance:
        count = make(folder, seed, advance)
    console.data(f"{folder}: {counted(count, 'image')}")
    console.hint(f"next: {DEMOS[task].next.format(folder=folder)}")
