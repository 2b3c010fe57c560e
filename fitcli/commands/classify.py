"""`fit classify IMAGE... --checkpoint RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli import console
from fitcli.options import (
    BACKGROUND_THRESHOLD,
    BackgroundThreshold,
    Checkpoint,
    DeviceName,
    Images,
    Json,
    Memory,
    PrecisionName,
    SkipBackground,
    State,
)


def classify(
    images: Images,
    checkpoint: Checkpoint,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Classes to show per image.")] = 3,
    json: Json = False,
    csv: Annotated[Path | None, typer.Option(help="Write a CSV file: path, label, one column per class.")] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            help="Where the evidence lies: a picture (.png, .jpg), a full-size layer (.tif, .zarr), "
            "or a folder for one picture per image."
        ),
    ] = None,
    skip_background: SkipBackground = False,
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD,
    memory: Memory = None,
    state: State = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Classify whole images of any size, reading each window by window."""
    from fitcli.checkpoints import load_classifier
    from fitcli.features import Settings
    from fitcli.images.open import matching_paths
    from fitcli.predictions import check_csv, classify_files, plan_heatmaps, write_csv
    from fitcli.runtime import choose_runtime

    paths = matching_paths(images)
    check_csv(csv, paths)
    heatmaps = plan_heatmaps(paths, heatmap)
    runtime = choose_runtime(device, precision, inference=True)
    model = load_classifier(checkpoint, runtime)
    background = background_threshold if skip_background else None
    settings = Settings(background=background, memory_bytes=memory, state=state)
    done = list(classify_files(model, paths, heatmaps, runtime, settings))
    good = [prediction for prediction in done if prediction is not None]
    classes = model.config.classes
    if csv is not None:
        write_csv(csv, good, classes)
    if json:
        console.json([prediction.as_dict(classes, top_k) for prediction in good])
    elif good:
        columns = ("image", "size", "groups", *(f"{n + 1}." for n in range(min(top_k, len(classes)))), "seconds")
        console.table(columns, [prediction.as_row(classes, top_k) for prediction in good])
    if len(good) < len(done) or not all(prediction.drawn for prediction in good):
        raise typer.Exit(1)
