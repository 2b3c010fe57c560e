"""`fit evaluate DATA --checkpoint RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fitcli import console
from fitcli.commands.image_pass import ScoringOptions
from fitcli.commands.options import CheckpointFolder, ImageFolder, Json
from fitcli.commands.signature import with_fields


@with_fields
def evaluate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data set, as for `fit train`.")],
    checkpoint: CheckpointFolder,
    split: Annotated[
        Literal["val", "train", "test", "all"], typer.Option(help="Which images; val are those held out in training.")
    ] = "val",
    images: ImageFolder = None,
    per: Annotated[
        str | None,
        typer.Option(
            "--per", metavar="COLUMN", help="Score by patient, too: mean and maximum of the images with one value here."
        ),
    ] = None,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file: a line per image, or per patient.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with scores, curves and the worst images.")
    ] = None,
    *,
    options: ScoringOptions,
) -> None:
    """Score a run on a data set, and say how many of its images the run was trained on.

    A classifier: accuracy, balanced accuracy, AUROC, calibration error and confusion of each target, sensitivity and
    specificity at the threshold that validation chose, with 95 % intervals over patients, or images; of values, orders
    and survival: R2, kappa, C-index and errors. A segmentation: IoU, Dice and boundaries. A detection: AP, precision,
    recall and FROC. An autoregressive model: bits per dimension. A diffusion model: the error of its predictions at ten
    levels of noise.
    """
    from fitcli.evaluation.evaluate import evaluate as run_evaluation
    from fitcli.reports.page import check_page
    from fitcli.tasks.classify.classify_files import check_csv
    from fitcli.tasks.evaluation_result import write_csv

    with options.connect() as queue:
        check_csv(csv, [data])
        check_page("--report", report, [data, *([] if csv is None else [csv])])
        runtime = options.runtime()
        found = run_evaluation(queue, data, checkpoint, split, runtime, options.settings(), csv, images, per, report)
        if csv is not None and found is not None:
            write_csv(csv, found)
    if found is None:
        return
    if json:
        console.json(found.as_dict())
    else:
        console.table(("score", "value"), found.as_rows())
        confusion = found.confusion()
        units = found.units and found.units.table
        for table in filter(None, (*found.tables, confusion, units)):
            console.table(*table)
    if found.failed:
        raise typer.Exit(1)
