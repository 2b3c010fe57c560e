"""`fit train DATA --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fitcli import console
from fitcli.background import THRESHOLD
from fitcli.options import BackgroundThreshold, DeviceName, PrecisionName, SkipBackground, given
from fitcli.training.settings import TrainSettings

DEFAULT = TrainSettings()


def train(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="Folder with one subfolder per class, or CSV: path,label[,split].")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.", metavar="RUN")],
    preset: Annotated[str, typer.Option(help="Size of the model: debug, tiny, small, base or large.")] = DEFAULT.preset,
    size: Annotated[
        int | None, typer.Option(min=1, help="Train on random windows of SIZE x SIZE pixels; whole images without.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = DEFAULT.epochs,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps, instead of --epochs.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per pass.")] = DEFAULT.batch_size,
    accumulate: Annotated[int, typer.Option(min=1, help="Passes per optimizer step.")] = DEFAULT.accumulate,
    learning_rate: Annotated[float, typer.Option(help="Highest, after the warm-up.")] = DEFAULT.learning_rate,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = DEFAULT.weight_decay,
    clip: Annotated[float, typer.Option(min=0, help="Highest gradient norm; 0 for none.")] = DEFAULT.clip,
    label_smoothing: Annotated[float, typer.Option(help="Share of each target, 0 to 1.")] = DEFAULT.label_smoothing,
    balance: Annotated[bool, typer.Option("--balance", help="Weight classes by inverse frequency.")] = False,
    augment: Annotated[bool, typer.Option(help="Flips, quarter turns, light changes of brightness.")] = True,
    skip_background: SkipBackground = False,
    background_threshold: BackgroundThreshold = THRESHOLD,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, data order and augmentation.")] = DEFAULT.seed,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in RUN, with its own settings.")] = False,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Train a classifier on whole images of any size, or on random windows of them.

    A run that is continued with --resume keeps its settings; only --epochs or --steps may be given anew, to train
    longer or shorter: the learning rate then falls towards the new end.
    """
    from fitcli.runtime import choose_runtime
    from fitcli.training.loop import train as run_training
    from fitcli.training.prepare import prepare
    from fitcli.training.view import training_view

    runtime = choose_runtime(device, precision)
    settings = TrainSettings(
        preset=preset, size=size, epochs=epochs, steps=steps, batch_size=batch_size, accumulate=accumulate,
        learning_rate=learning_rate, weight_decay=weight_decay, clip=clip, label_smoothing=label_smoothing,
        balance=balance, augment=augment, background=background_threshold if skip_background else None, seed=seed,
        precision=runtime.precision,
    )  # fmt: skip
    run, done = prepare(data, out, settings, runtime, resume, given(context))
    console.hint(run.summary())
    with training_view(done, run.total_steps) as view:
        progress = run_training(run, view, resume)
    console.data(progress.summary(out))
    console.hint(f"next: fit classify IMAGE --checkpoint {out}")
