"""`fit segment IMAGE... --checkpoint RUN --out MAP`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli import console
from fitcli.commands.options import (
    BackgroundThreshold,
    CheckpointFolder,
    Compile,
    DeviceName,
    Images,
    Json,
    Memory,
    Mpp,
    PrecisionName,
    PyramidLevel,
    SkipBackground,
    StateFolder,
    Timeout,
    background_choice,
    reading_choice,
)
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.errors import FitError
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD

SHOWN = 6
"""Number of classes whose share is a column of the table."""


def segment(
    images: Images,
    checkpoint: CheckpointFolder,
    out: Annotated[
        Path,
        typer.Option("--out", help="The map: .tif, .ome.tif, .zarr or .png, or a folder of .tif files.", metavar="OUT"),
    ],
    polygons: Annotated[
        Path | None,
        typer.Option(help="Also write polygons: .geojson, .geojson.gz or .gpkg, or a folder.", metavar="OUT"),
    ] = None,
    probabilities: Annotated[
        Path | None, typer.Option(help="Also write the probability of every class, as the map.", metavar="OUT")
    ] = None,
    min_area: Annotated[
        float, typer.Option("--min-area", min=0, help="Least area of a polygon, in pixels.", metavar="PIXELS")
    ] = 0.0,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Polygons of a georeferenced image in pixels, as QuPath reads them.")
    ] = False,
    json: Json = False,
    mpp: Mpp = None,
    level: PyramidLevel = None,
    skip_background: SkipBackground = None,
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD,
    memory: Memory = None,
    state: StateFolder = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    compile: Compile = False,
    timeout: Timeout = TIMEOUT_MINUTES,
) -> None:
    """Name the class of every place of whole images of any size, in one pass: a map, polygons, areas."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.image_queue import open_queue
    from fitcli.images.open import matching_paths
    from fitcli.tasks.encoding.encode import EncodingSettings
    from fitcli.tasks.load import load_run
    from fitcli.tasks.segment.segment_files import plan_files, segment_files
    from fitcli.tasks.segment.task import TASK as SEGMENT

    if polygons is None and (min_area or pixels):
        raise FitError(f"{'--min-area' if min_area else '--pixels'} is for --polygons; give both, or leave it out")
    background, how = background_choice(skip_background, background_threshold), reading_choice(level, mpp)
    paths = matching_paths(images)
    with open_queue(device, 60 * timeout) as queue:
        planned = plan_files(paths, out, probabilities, polygons, min_area, pixels)
        runtime = choose_runtime(device, precision, inference=True, compiled=compile, memory_bytes=memory)
        model = load_run(checkpoint, runtime, SEGMENT)
        settings = EncodingSettings(background=background, memory_bytes=memory, state=state, read_as=how)
        done = list(segment_files(queue, model, paths, planned, runtime, settings, out))
    if not queue.world.is_first:
        return
    good = [report for report in done if report is not None]
    if json:
        console.json(good)
    elif good:
        names = model.config.classes[:SHOWN]
        rows = [
            (
                report["path"],
                f"{report['width']} x {report['height']}",
                *(f"{report['areas'][name]['share']:.1%}" for name in names),
                report["map"],
                f"{report['seconds']:.1f}",
            )
            for report in good
        ]
        console.table(("image", "size", *names, "map", "seconds"), rows)
    if len(good) < len(done):
        raise typer.Exit(1)
