"""`fit evaluate DATA --checkpoint RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fitcli import console
from fitcli.commands.image_pass import ScoringOptions
from fitcli.commands.options import CheckpointFolder, ImageFolder, Json, OnePerPlace, answer_choices
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
    one_per_place: OnePerPlace = None,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file: a line per image, or per patient.")] = None,
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
    from fitcli.tasks.classify.classify_files import check_csv
    from fitcli.tasks.evaluation_result import write_csv

    with options.connect() as queue:
        check_csv(csv, [data])
        runtime = options.runtime()
        choices = answer_choices(one_per_place)
        found = run_evaluation(queue, data, checkpoint, split, runtime, options.settings(), csv, images, per, choices)
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
