"""`fit classify IMAGE... --checkpoint RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli import console
from fitcli.commands.image_pass import PassOptions
from fitcli.commands.options import CheckpointFolder, Images, Json
from fitcli.commands.signature import with_fields
from fitcli.errors import FitError


@with_fields
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
    *,
    options: PassOptions,
) -> None:
    """Classify whole images of any size; each is read one window at a time."""
    from fitcli.images.open import matching_paths
    from fitcli.tasks.classify.classify_files import check_csv, classify_files, write_csv
    from fitcli.tasks.classify.heatmap_files import choose_heatmaps, plan_heatmaps
    from fitcli.tasks.classify.task import TASK as CLASSIFY

    if heatmap_task is not None:
        console.warning("--heatmap-task is now --heatmap-target; the next release has no --heatmap-task")
        heatmap_target = heatmap_target or heatmap_task
    if heatmap is None and (heatmap_target, heatmap_class) != (None, None):
        option = "--heatmap-class" if heatmap_target is None else "--heatmap-target"
        raise FitError(f"{option} is for --heatmap; give both, or leave it out")
    paths = matching_paths(images)
    with options.connect() as queue:
        check_csv(csv, paths)
        run = options.open(queue, checkpoint, CLASSIFY)
        config = run.model.config
        shown = choose_heatmaps(config.class_targets, heatmap_target, heatmap_class)
        heatmaps = plan_heatmaps(paths, heatmap, shown)
        done = list(classify_files(queue, run.model, paths, heatmaps, run.runtime, run.settings, top_k, csv, shown))
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
