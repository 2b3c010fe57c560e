"""`fit segment IMAGE... --checkpoint RUN --out MAP`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fitcli.commands.image_pass import ExactPassOptions, finish
from fitcli.commands.options import CheckpointFolder, Images, Json
from fitcli.commands.signature import with_fields
from fitcli.errors import FitError

SHOWN = 6
"""Number of classes whose share is a column of the table."""


SQUARE_KILOMETRE = 10**6
"""Square metres from which on areas are shown in square kilometres."""


def area_cell(area: dict[str, float]) -> list[str]:
    """Return the share of a class and, if known, its area, as lines of the table."""
    lines = [f"{area['share']:.1%}"]
    if (metres := area.get("square_metres")) is not None:
        large = metres >= SQUARE_KILOMETRE
        lines.append(f"{metres / SQUARE_KILOMETRE:,.2f} km²" if large else f"{metres:,.0f} m²")
    elif (millimetres := area.get("square_millimetres")) is not None:
        lines.append(f"{millimetres:,.2f} mm²")
    return lines


@with_fields
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
    *,
    options: ExactPassOptions,
) -> None:
    """Name the class of every place of whole images of any size, in one pass: a map, polygons, areas."""
    from fitcli.images.open import matching_paths
    from fitcli.tasks.segment.segment_files import plan_files, segment_files
    from fitcli.tasks.segment.task import TASK as SEGMENT

    if polygons is None and (min_area or pixels):
        raise FitError(f"{'--min-area' if min_area else '--pixels'} is for --polygons; give both, or leave it out")
    paths = matching_paths(images)
    with options.connect() as queue:
        planned = plan_files(paths, out, probabilities, polygons, min_area, pixels)
        run = options.open(queue, checkpoint, SEGMENT)
        done = list(segment_files(queue, run.model, paths, planned, run.runtime, run.settings, out))
    if not queue.world.is_first:
        return
    names = run.model.config.classes[:SHOWN]

    def row(report: dict[str, Any]) -> Iterator[str | Sequence[str]]:
        yield from (report["path"], f"{report['width']} x {report['height']}")
        yield from map(area_cell, (report["areas"][name] for name in names))
        yield from (report["map"], f"{report['seconds']:.1f}")

    finish(done, json, ("image", "size", *names, "map", "seconds"), row)
