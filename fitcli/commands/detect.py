"""`fit detect IMAGE... --checkpoint RUN --out OBJECTS`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fitcli.commands.image_pass import ExactPassOptions, finish
from fitcli.commands.options import CheckpointFolder, Images, Json, OnePerPlace, answer_choices
from fitcli.commands.signature import with_fields

SHOWN = 6
"""Number of classes whose count is a column of the table."""


@with_fields
def detect(
    images: Images,
    checkpoint: CheckpointFolder,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The objects: .gpkg; .geojson, .csv or .json (COCO), also .gz; or a folder.", metavar="OUT"
        ),
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also draw them on a picture: .png or .jpg, or a folder.", metavar="OUT")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.05, max=1, help="Least score; default: of the best F1 in validation.", metavar="SCORE"),
    ] = None,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Objects on a georeferenced image in pixels, as QuPath reads them.")
    ] = False,
    one_per_place: OnePerPlace = None,
    json: Json = False,
    *,
    options: ExactPassOptions,
) -> None:
    """Find every object of whole images of any size, in one pass and without a limit: boxes or points, and counts."""
    from fitcli.images.open import matching_paths
    from fitcli.tasks.detect.detect_files import check_pixels, detect_files, plan_object_files
    from fitcli.tasks.detect.task import TASK as DETECT

    check_pixels(pixels, out)
    paths = matching_paths(images)
    with options.connect() as queue:
        planned = plan_object_files(paths, out, overlay, threshold, pixels)
        run = options.open(queue, checkpoint, DETECT)
        model = run.model.chosen(answer_choices(one_per_place))
        done = list(detect_files(queue, model, paths, planned, run.runtime, run.settings, out))
    if not queue.world.is_first:
        return
    names = run.model.config.classes[:SHOWN]

    def row(report: dict[str, Any]) -> Iterator[str]:
        yield from (report["path"], f"{report['width']} x {report['height']}")
        yield from (f"{report['counts'][name]['count']:,}" for name in names)
        yield f"{report['found'] / report['width'] / report['height'] * 1e6:.3g}"
        yield from (f"{report['threshold']:g}", f"{report['seconds']:.1f}")

    finish(done, json, ("image", "size", *names, "per megapixel", "threshold", "seconds"), row)
