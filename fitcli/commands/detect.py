"""`fit detect IMAGE... --checkpoint RUN --out OBJECTS`."""

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
    InferencePrecisionName,
    Json,
    Memory,
    Mpp,
    PyramidLevel,
    SkipBackground,
    StateFolder,
    Timeout,
    background_choice,
    reading_choice,
)
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD

SHOWN = 6
"""Number of classes whose count is a column of the table."""


def detect(
    images: Images,
    checkpoint: CheckpointFolder,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The objects: .geojson, .csv or .json (COCO), also .gz, or a folder.", metavar="OUT"
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
        bool, typer.Option("--pixels", help="GeoJSON of a georeferenced image in pixels, as QuPath reads it.")
    ] = False,
    json: Json = False,
    mpp: Mpp = None,
    level: PyramidLevel = None,
    skip_background: SkipBackground = None,
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD,
    memory: Memory = None,
    state: StateFolder = None,
    device: DeviceName = "auto",
    precision: InferencePrecisionName = "auto",
    compile: Compile = False,
    timeout: Timeout = TIMEOUT_MINUTES,
) -> None:
    """Find every object of whole images of any size, in one pass and without a limit: boxes or points, and counts."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.image_queue import open_queue
    from fitcli.images.open import matching_paths
    from fitcli.tasks.detect.detect_files import check_pixels, detect_files, plan_object_files
    from fitcli.tasks.detect.task import TASK as DETECT
    from fitcli.tasks.encoding.encode import EncodingSettings
    from fitcli.tasks.load import load_run

    background, how = background_choice(skip_background, background_threshold), reading_choice(level, mpp)
    check_pixels(pixels, out)
    paths = matching_paths(images)
    with open_queue(device, 60 * timeout) as queue:
        planned = plan_object_files(paths, out, overlay, threshold, pixels)
        runtime = choose_runtime(device, precision, inference=True, compiled=compile, memory_bytes=memory)
        model = load_run(checkpoint, runtime, DETECT)
        settings = EncodingSettings(background=background, memory_bytes=memory, state=state, read_as=how)
        done = list(detect_files(queue, model, paths, planned, runtime, settings, out))
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
                *(f"{report['counts'][name]['count']:,}" for name in names),
                f"{report['found'] / report['width'] / report['height'] * 1e6:.3g}",
                f"{report['threshold']:g}",
                f"{report['seconds']:.1f}",
            )
            for report in good
        ]
        console.table(("image", "size", *names, "per megapixel", "threshold", "seconds"), rows)
    if len(good) < len(done):
        raise typer.Exit(1)
