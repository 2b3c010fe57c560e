"""`fit evaluate DATA --checkpoint RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fitcli import console
from fitcli.commands.options import (
    BackgroundThreshold,
    CheckpointFolder,
    Compile,
    DeviceName,
    ImageFolder,
    InferencePrecisionName,
    Json,
    Memory,
    Mpp,
    PyramidLevel,
    SkipBackground,
    Timeout,
    background_choice,
    reading_choice,
)
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD


def evaluate(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder with one subfolder per class, or CSV: path,label[,split].")
    ],
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
    mpp: Mpp = None,
    level: PyramidLevel = None,
    skip_background: SkipBackground = None,
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD,
    memory: Memory = None,
    device: DeviceName = "auto",
    precision: InferencePrecisionName = "auto",
    compile: Compile = False,
    timeout: Timeout = TIMEOUT_MINUTES,
) -> None:
    """Score a run on a data set, and say how many of its images the run was trained on.

    A classifier: accuracy, balanced accuracy, AUROC, calibration error and confusion matrix of each target; of a target
    with several labels: the share of images whose labels are all right, and F1; sensitivity and specificity at the
    threshold that validation chose; all with 95 % intervals over patients, or images. An autoregressive model: bits per
    dimension. A diffusion model: the error of its predictions at ten levels of noise.
    """
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.image_queue import open_queue
    from fitcli.evaluation.evaluate import evaluate as run_evaluation
    from fitcli.tasks.classify.classify_files import check_csv
    from fitcli.tasks.encoding.encode import EncodingSettings
    from fitcli.tasks.evaluation_result import write_csv

    with open_queue(device, 60 * timeout) as queue:
        check_csv(csv, [data])
        runtime = choose_runtime(
            device, precision, inference=True, compiled=compile, memory_bytes=memory, float32_on_cpu=True
        )
        settings = EncodingSettings(
            background=background_choice(skip_background, background_threshold),
            memory_bytes=memory,
            read_as=reading_choice(level, mpp),
        )
        found = run_evaluation(queue, data, checkpoint, split, runtime, settings, csv, images, per)
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
