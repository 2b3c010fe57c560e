"""`fit classify IMAGE... --checkpoint RUN`."""

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
from fitcli.errors import FitError
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD


def classify(
    images: Images,
    checkpoint: CheckpointFolder,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Classes to show per image.")] = 3,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file: path, label, one column per class.")] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            help="Write a heat map of the evidence: a picture (.png, .jpg), a full-size layer of numbers (.tif, "
            ".zarr), or a folder of pictures."
        ),
    ] = None,
    heatmap_target: Annotated[
        str | None,
        typer.Option("--heatmap-target", help="Target whose evidence is drawn; default: the first.", metavar="NAME"),
    ] = None,
    heatmap_class: Annotated[
        str | None,
        typer.Option(
            "--heatmap-class",
            help="Draw what speaks for this class of the target and against it; `all` for a map of each class.",
            metavar="NAME",
        ),
    ] = None,
    heatmap_task: Annotated[str | None, typer.Option("--heatmap-task", hidden=True)] = None,
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
    """Classify whole images of any size; each is read one window at a time."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.image_queue import open_queue
    from fitcli.images.open import matching_paths
    from fitcli.tasks.classify.classify_files import check_csv, classify_files, write_csv
    from fitcli.tasks.classify.heatmap_files import choose_heatmaps, plan_heatmaps
    from fitcli.tasks.classify.task import TASK as CLASSIFY
    from fitcli.tasks.encoding.encode import EncodingSettings
    from fitcli.tasks.load import load_run

    if heatmap_task is not None:
        console.warning("--heatmap-task is now --heatmap-target; the next release has no --heatmap-task")
        heatmap_target = heatmap_target or heatmap_task
    if heatmap is None and (heatmap_target, heatmap_class) != (None, None):
        option = "--heatmap-class" if heatmap_target is None else "--heatmap-target"
        raise FitError(f"{option} is for --heatmap; give both, or leave it out")
    background, how = background_choice(skip_background, background_threshold), reading_choice(level, mpp)
    paths = matching_paths(images)
    with open_queue(device, 60 * timeout) as queue:
        check_csv(csv, paths)
        runtime = choose_runtime(device, precision, inference=True, compiled=compile, memory_bytes=memory)
        model = load_run(checkpoint, runtime, CLASSIFY)
        config, shown = model.config, choose_heatmaps(model.config.class_targets, heatmap_target, heatmap_class)
        heatmaps = plan_heatmaps(paths, heatmap, shown)
        settings = EncodingSettings(background=background, memory_bytes=memory, state=state, read_as=how)
        done = list(classify_files(queue, model, paths, heatmaps, runtime, settings, top_k, csv, shown))
        good = [report for report in done if report is not None]
        if csv is not None and queue.world.is_first:
            write_csv(csv, [report.line for report in good], config)
    if not queue.world.is_first:
        return
    if json:
        console.json([report.document for report in good])
    elif good:
        count = min(top_k, len(config.classes))
        answers = [target.name for target in config.targets] or [f"{n + 1}." for n in range(count)]
        console.table(("image", "size", "groups", *answers, "seconds"), [report.row for report in good])
    if len(good) < len(done) or not all(report.drawn for report in good):
        raise typer.Exit(1)
