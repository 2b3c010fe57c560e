"""`fit train DATA --out RUN`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.commands.options import (
    BACKGROUND_THRESHOLD,
    BackgroundThreshold,
    Compile,
    DeviceName,
    Memory,
    PrecisionName,
    SkipBackground,
    background_share,
    defaulted,
    given,
)
from fitcli.errors import FitError
from fitcli.runs.train_settings import TaskName, TrainSettings
from fitcli.training.recipe import naming, read_recipe

if TYPE_CHECKING:
    from fitcli.training.start_options import Launch

DEFAULT = TrainSettings()

NOT_IN_RECIPES = ("data", "out", "resume", "accept_changed_data", "auto_resume", "max_minutes", "recipe", "help")
"""What belongs to one run."""


def _images(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Images", **limits)


def _learning(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Learning", **limits)


def _saving(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Saving", **limits)


def _classify(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task classify", **limits)


def _generate(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task diffusion or autoregressive", **limits)


def _diffusion(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task diffusion", **limits)


def _autoregressive(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With --task autoregressive", **limits)


def _follow(context: typer.Context, recipe: Path | None) -> Path | None:
    """Take a recipe for the defaults of all other options."""
    if recipe is not None:
        parameters = {
            parameter.name: parameter
            for parameter in context.command.params
            if parameter.name and parameter.name not in NOT_IN_RECIPES
        }
        switches = {name: bool(getattr(parameter, "is_flag", False)) for name, parameter in parameters.items()}

        def check(name: str, value: str | bool) -> None:
            try:
                parameters[name].process_value(context, value)
            except typer.BadParameter as error:
                raise ValueError(error.message) from None

        try:
            context.default_map = {**(context.default_map or {}), **read_recipe(recipe, switches, check)}
        except FitError as error:
            # Options are read before errors of the command are caught.
            console.error(str(error))
            raise typer.Exit(1) from None
    return recipe


def train(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder with one subfolder per class, or CSV: path,label[,split]; label:NAME for more.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.", metavar="RUN")],
    task: Annotated[
        TaskName,
        typer.Option(help="What to learn: the classes of images; or images, out of noise or value by value."),
    ] = DEFAULT.task,
    preset: Annotated[
        str, typer.Option(help="Size of the model: debug, nano, tiny, small, base or large.")
    ] = DEFAULT.preset,
    start_from: Annotated[
        Path | None, typer.Option(help="Begin with the weights of another run, of images of any size.", metavar="RUN")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of options; what is given here as well wins.",
            callback=_follow,
            is_eager=True,
            metavar="FILE",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in RUN, with its own settings.")] = False,
    accept_changed_data: Annotated[
        bool, typer.Option("--accept-changed-data", help="Resume though images were added, removed or relabelled.")
    ] = False,
    auto_resume: Annotated[
        bool,
        typer.Option(
            "--auto-resume", help="Continue the run in RUN if there is one: for queues that start jobs again."
        ),
    ] = False,
    max_minutes: Annotated[
        float,
        typer.Option(
            "--max-minutes",
            help="Stop after so many minutes and save, for --resume: where time is limited.",
            min=0,
            metavar="MINUTES",
            show_default=False,
        ),
    ] = math.inf,
    shard: Annotated[
        bool, typer.Option("--shard", help="Share weights and optimizer out over the processes of torchrun (FSDP2).")
    ] = False,
    group_parallel: Annotated[
        int,
        typer.Option(
            "--group-parallel", min=1, help="Processes of torchrun that share each image: each computes a part of it."
        ),
    ] = 1,
    memory: Memory = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    compile: Compile = False,
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
    batch_size: Annotated[int, _learning("Images per pass, of all processes together.", min=1)] = DEFAULT.batch_size,
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
    save_every: Annotated[
        int | None, _saving("Optimizer steps between two saves; by default at the end of each epoch.", min=1)
    ] = None,
    keep: Annotated[int, _saving("Saved states that are kept: the last, and some before it.", min=1)] = DEFAULT.keep,
    max_bad_images: Annotated[
        int, _images("Images that cannot be read and are left out before training stops.", min=0)
    ] = DEFAULT.max_bad_images,
    balance: Annotated[bool, _classify("Weight classes by inverse frequency.", "--balance")] = False,
    shift_canvas: Annotated[
        int, _classify("Move images by up to so many pixels: patches are cut elsewhere every time.", min=0)
    ] = DEFAULT.shift_canvas,
    token_dropout: Annotated[float, _classify("Share of the patches that are hidden.")] = DEFAULT.token_dropout,
    drop_path: Annotated[
        float, _classify("Share of images that the last layer is left out for; less for those before.")
    ] = DEFAULT.drop_path,
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
    longer or shorter (the learning rate then falls towards the new end), and --max-bad-images, --save-every, --keep and
    --memory. One that --max-minutes stops ends without an error, once the step that it is in is done and saved.

    Started by torchrun, processes share each batch: `torchrun --no-python --nproc-per-node 4 fit train DATA --out RUN`
    gives what one process does with the same --batch-size. A job that torchrun starts again goes on where it was saved.
    """
    deadline = time.monotonic() + 60 * max_minutes
    from fitcli.device.runtime import choose_runtime
    from fitcli.distributed.process_group import processes
    from fitcli.runs.config import is_run
    from fitcli.training.start_options import Launch

    with naming(recipe, defaulted(context)), processes(device, group_parallel) as world:
        runtime = world.run_on_all(lambda: choose_runtime(device, precision, compiled=compile))
        settings = TrainSettings(
            task=task, preset=preset, start_from=None if start_from is None else str(start_from), patch=patch,
            unconditional=unconditional, size=size, epochs=epochs, steps=steps,
            batch_size=batch_size, accumulate=accumulate, learning_rate=learning_rate, weight_decay=weight_decay,
            clip=clip, label_smoothing=label_smoothing, balance=balance, augment=augment, ema=ema, seed=seed,
            background=background_share(skip_background, background_threshold),
            schedule=schedule, shift=shift, scale=scale,
            self_condition_rate=self_condition_rate, class_dropout=class_dropout, levels=levels, order=order,
            start=start, prediction=prediction, precision=runtime.precision, max_bad_images=max_bad_images,
            save_every=save_every, keep=keep, shift_canvas=shift_canvas, token_dropout=token_dropout,
            drop_path=drop_path,
        )  # fmt: skip
        # Agents of several machines count restarts differently.
        again = world.any(auto_resume or world.restarts > 0)
        launch = Launch(
            data=data, folder=out, runtime=runtime, given=given(context), accept_changed_data=accept_changed_data,
            resume=resume or (again and world.broadcast(is_run(out))), memory_bytes=memory, deadline=deadline,
            world=world, shard=shard,
        )  # fmt: skip
        _train(settings, launch)


def _train(settings: TrainSettings, launch: Launch) -> None:
    from fitcli.device.runtime import return_freed_memory
    from fitcli.training.loop import train as run_training
    from fitcli.training.prepare import prepare
    from fitcli.training.progress_view import training_view
    from fitcli.training.stop_requests import TimeIsOver

    run, done = launch.world.run_on_all(lambda: prepare(settings, launch))
    if run.changed:
        console.warning(f"{launch.data}: {run.changed}")
    if not run.dataset.validation:
        console.warning(f"{launch.data}: no image is held out to validate on; the weights that are kept are the last")
    if launch.memory_bytes is not None and run.runtime.device.type == "cpu":
        return_freed_memory()
    try:
        with training_view(done, run.total_steps) as view:
            progress = run_training(run, view, launch.resume)
    except TimeIsOver as over:
        # What was asked for was done: no error, for queues and for torchrun, which would start it again.
        console.data(str(over))
        return
    console.data(progress.summary(run.folder))
    usage = "classify IMAGE --checkpoint" if run.settings.task == "classify" else "generate --out FILE --checkpoint"
    console.hint(f"next: fit {usage} {run.folder}")
