"""`fit train DATA --out RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.options import (
    BACKGROUND_THRESHOLD,
    BackgroundThreshold,
    DeviceName,
    Memory,
    PrecisionName,
    SkipBackground,
    given,
)
from fitcli.training.settings import TaskName, TrainSettings

DEFAULT = TrainSettings()


def _images(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Images", **limits)


def _learning(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Learning", **limits)


def _classify(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task classify", **limits)


def _generate(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task diffusion or autoregressive", **limits)


def _diffusion(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task diffusion", **limits)


def _autoregressive(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task autoregressive", **limits)


def train(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="Folder with one subfolder per class, or CSV: path,label[,split].")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.", metavar="RUN")],
    task: Annotated[
        TaskName,
        typer.Option(help="What to learn: the classes of images; or images, out of noise or value by value."),
    ] = DEFAULT.task,
    preset: Annotated[
        str, typer.Option(help="Size of the model: debug, nano (autoregressive), tiny, small, base or large.")
    ] = DEFAULT.preset,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in RUN, with its own settings.")] = False,
    memory: Memory = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    skip_background: SkipBackground = False,
    background_threshold: BackgroundThreshold = BACKGROUND_THRESHOLD,
    size: Annotated[
        int | None, _images("Train on random windows of SIZE x SIZE pixels; whole images without.", min=1)
    ] = None,
    patch: Annotated[int | None, _images("Pixels per side of a patch; else that of the preset.", min=1)] = None,
    augment: Annotated[
        bool | None,
        _images("Flips, quarter turns, for classifiers light changes of brightness; by default for these alone."),
    ] = None,
    epochs: Annotated[int, _learning("Passes over the training images.", min=1)] = DEFAULT.epochs,
    steps: Annotated[int | None, _learning("Optimizer steps, instead of --epochs.", min=1)] = None,
    batch_size: Annotated[int, _learning("Images per pass.", min=1)] = DEFAULT.batch_size,
    accumulate: Annotated[int, _learning("Passes per optimizer step.", min=1)] = DEFAULT.accumulate,
    learning_rate: Annotated[float, _learning("Highest, after the warm-up.")] = DEFAULT.learning_rate,
    weight_decay: Annotated[float, _learning("Of AdamW.", min=0)] = DEFAULT.weight_decay,
    clip: Annotated[float, _learning("Highest gradient norm; 0 for none.", min=0)] = DEFAULT.clip,
    label_smoothing: Annotated[
        float, _learning("Share of each target, 0 to 1; not for diffusion.")
    ] = DEFAULT.label_smoothing,
    ema: Annotated[
        float | None,
        _learning("Decay of the average of the weights, 0 for no average; by default 0.9999, for classifiers 0."),
    ] = None,
    seed: Annotated[int, _learning("Of weights, data order, augmentation and noise.", min=0)] = DEFAULT.seed,
    max_bad_images: Annotated[
        int, _images("Images that cannot be read and are left out before training stops.", min=0)
    ] = DEFAULT.max_bad_images,
    balance: Annotated[bool, _classify("Weight classes by inverse frequency.", "--balance")] = False,
    unconditional: Annotated[bool, _generate("Leave the classes of the images out.", "--unconditional")] = False,
    prediction: Annotated[
        Literal["eps", "x", "v"], _diffusion("Of the network: noise, data or velocity.")
    ] = DEFAULT.prediction,
    schedule: Annotated[
        str, _diffusion("cosine, cosine@start,end,tau, sigmoid@start,end,tau or simple_linear.")
    ] = DEFAULT.schedule,
    shift: Annotated[
        float | None,
        _diffusion("Of the log signal-to-noise ratio; by default 2 log(64 / side) above 64 pixels per side."),
    ] = None,
    scale: Annotated[float, _diffusion("Of the data; less of it is more noise.")] = DEFAULT.scale,
    self_condition_rate: Annotated[
        float, _diffusion("Share of images that start from the latents of a first run.")
    ] = DEFAULT.self_condition_rate,
    class_dropout: Annotated[float, _diffusion("Share of images whose class is withheld.")] = DEFAULT.class_dropout,
    levels: Annotated[
        int | None, _autoregressive("Shades per channel, 2 to 256; by default the 256 of 8 bit images.")
    ] = None,
    order: Annotated[Literal["raster", "snake"], _autoregressive("Of the patches.")] = DEFAULT.order,
    start: Annotated[Literal["learned", "zero"], _autoregressive("What stands in front of an image.")] = DEFAULT.start,
) -> None:
    """Train on whole images of any size, or on random windows of them: to classify images, or to make new ones.

    Classifying needs classes. Diffusion and autoregressive models learn them where the data set has them; their
    images may as well lie in one folder.

    A run that is continued with --resume keeps its settings; only --epochs or --steps may be given anew, to train
    longer or shorter: the learning rate then falls towards the new end. And --max-bad-images.
    """
    from fitcli.runtime import choose_runtime, return_freed_memory
    from fitcli.training.loop import train as run_training
    from fitcli.training.prepare import prepare
    from fitcli.training.view import training_view

    runtime = choose_runtime(device, precision)
    settings = TrainSettings(
        task=task, preset=preset, patch=patch, unconditional=unconditional, size=size, epochs=epochs, steps=steps,
        batch_size=batch_size, accumulate=accumulate, learning_rate=learning_rate, weight_decay=weight_decay, clip=clip,
        label_smoothing=label_smoothing, balance=balance, augment=augment, ema=ema, seed=seed, prediction=prediction,
        background=background_threshold if skip_background else None, schedule=schedule, shift=shift, scale=scale,
        self_condition_rate=self_condition_rate, class_dropout=class_dropout, levels=levels, order=order, start=start,
        precision=runtime.precision, max_bad_images=max_bad_images,
    )  # fmt: skip
    run, done = prepare(data, out, settings, runtime, resume, given(context), memory)
    console.hint(run.summary())
    if memory is not None and runtime.device.type == "cpu":
        return_freed_memory()
    if memory is not None or run.plan.kind != "plain":
        console.log(run.memory())
    with training_view(done, run.total_steps) as view:
        progress = run_training(run, view, resume)
    console.data(progress.summary(out))
    usage = "classify IMAGE --checkpoint" if run.settings.task == "classify" else "generate --out FILE --checkpoint"
    console.hint(f"next: fit {usage} {out}")
