"""`fit generate --checkpoint RUN --out FILE`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.commands.options import (
    Channels,
    CheckpointFolder,
    DeviceName,
    FocalPlane,
    Json,
    Mpp,
    PyramidLevel,
    SeriesName,
    TimePoint,
    compile_option,
    given,
    memory_option,
    precision_option,
    reading_choice,
    state_option,
)
from fitcli.commands.signature import with_options
from fitcli.errors import FitError
from fitcli.runs.option import flag, refuse_foreign_options
from fitcli.runs.train_settings import LARGEST_SEED, READING
from fitcli.tasks.registry import generate_options

if TYPE_CHECKING:
    from fitcli.device.runtime import Runtime
    from fitcli.images.base import ImageReader
    from fitcli.images.read_as import ReadAs
    from fitcli.patches.preprocessing import Preprocessing
    from fitcli.runs.weights import Checkpoint
    from fitcli.tasks.autoregressive.generate_options import AutoregressiveGenerateOptions
    from fitcli.tasks.diffusion.generate_options import DiffusionGenerateOptions
    from fitcli.tasks.generated_image import GeneratedImage
    from models.denoiser import FITDenoiser

DIFFUSION_ONLY = ("memory", "state", "precision", "compile", "enlarge_with")
"""Options of `fit generate` for diffusion only.

An autoregressive model draws in the precision of its weights and keeps its images in memory. `--state` keeps finished
steps, which drawing value by value does not have. `--enlarge-with` takes runs of `fit train --enlarge`.
"""

ONLY = " (diffusion)"
"""End of the help texts of `DIFFUSION_ONLY`."""

AUTO = f"; auto is bf16 or fp16 on GPUs, fp32 on CPUs{ONLY}."
"""End of the help text of `--precision`."""


@with_options({}, generate_options(), "With a run of --task {task}", "With a run of several tasks")
def generate(
    context: typer.Context,
    checkpoint: CheckpointFolder,
    out: Annotated[Path, typer.Option(help="Image to write: .tif, .ome.tif, .zarr, .png or .jpg.", metavar="FILE")],
    res: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Height and width of the image.")] = None,
    height: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Height of the image, for diffusion with --width; by default that of the training images.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Width of the image, for diffusion with --height; by default that of the training images.",
        ),
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Class of the image.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images; several are numbered.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Seed; the same seed gives the same image.")] = 0,
    image: Annotated[
        str | None, typer.Option(metavar="FILE", help="Image to enlarge, to repaint in part, or to complete downwards.")
    ] = None,
    enlarge_with: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help=f"Run of --enlarge that enlarges the result; repeat it for more{ONLY}."),
    ] = None,
    mpp: Mpp = None,
    level: PyramidLevel = None,
    series: SeriesName = None,
    z: FocalPlane = None,
    t: TimePoint = None,
    channels: Channels = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json: Json = False,
    memory: Annotated[int | None, memory_option(ONLY)] = None,
    state: Annotated[Path | None, state_option(ONLY)] = None,
    device: DeviceName = "auto",
    precision: Annotated[Literal["auto", "fp32", "bf16"], precision_option(AUTO)] = "auto",
    compile: Annotated[bool, compile_option(ONLY)] = False,
    **options: Any,
) -> None:
    """Generate images of any size with a diffusion or an autoregressive run."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.tasks.load import expect_task

    runtime = choose_runtime(
        device, precision, inference=True, compiled=compile, memory_bytes=memory, float32_on_cpu=True
    )
    with ExitStack() as stack:
        config = expect_task(checkpoint, *generate_options())
        task, enlarges = config.task, options.get("window") is None and config.task == "diffusion"
        chosen = reading_choice(level, mpp, series, z, t, channels)
        if image is None and chosen is not None:
            first = next(name for name in READING if getattr(chosen, name) is not None)
            raise FitError(f"{flag(first)} says what to read of an image; give the --image, or leave it out")
        opened = (
            None if image is None else stack.enter_context(_open(Path(image), config.preprocessing, enlarges, chosen))
        )
        request = ImageRequest(
            checkpoint=checkpoint, runtime=runtime, out=out, overwrite=overwrite, count=count, label=label, seed=seed,
            sides=(res, height, width), image=opened, memory_bytes=memory, state=state,
            enlarge_with=tuple(enlarge_with or ()),
        )  # fmt: skip
        _refuse_options(task, given(context))
        settings = generate_options()[task]
        own = settings(**{each.name: options[each.name] for each in fields(settings)})
        generators: dict[str, Callable[..., Iterator[GeneratedImage]]] = {
            "diffusion": _denoise,
            "autoregressive": _draw,
        }
        done = list(generators[task](request, own))
    if json:
        console.json([one.as_dict() for one in done])
    else:
        console.table(("image", "size", "seconds"), [one.as_row() for one in done])


def _open(path: Path, preprocessing: Preprocessing, enlarges: bool, chosen: ReadAs | None) -> ImageReader:
    """Open the given image as chosen, else as in training.

    An image to enlarge is coarser than those of training, and read at its own scale.
    """
    from fitcli.distributed.image_queue import ImageQueue
    from fitcli.images.read_as import AS_STORED, open_as
    from fitcli.tasks.encoding.image_opener import ImageOpener

    if enlarges:
        trained = replace(preprocessing.read_as, level=None, mpp=None)
        return open_as(path, (chosen or AS_STORED).over(trained))
    return ImageOpener(ImageQueue(), preprocessing, chosen, answers=False).open(path)


def _refuse_options(task: str, names: frozenset[str]) -> None:
    refuse_foreign_options(task, generate_options(), names)
    if task != "diffusion" and (foreign := [name for name in DIFFUSION_ONLY if name in names]):
        raise FitError(f"{flag(foreign[0])} is for --task diffusion, not for {task}; leave it out")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRequest:
    """The part of a call that both ways of generating have in common.

    Attributes:
        checkpoint: Run folder.
        runtime: Device and precision.
        out, overwrite, count: Files to write.
        label: Name of a class; None for none.
        seed: Seed of all random choices.
        sides: `--res`, `--height` and `--width`.
        image: Open image to begin with; None without.
        memory_bytes: Memory limit; None for a share of what is free.
        state: Folder for unfinished work; None for none.
        enlarge_with: Run folders that enlarge the result one after the other.
    """

    checkpoint: Path
    runtime: Runtime
    out: Path
    overwrite: bool
    count: int
    label: str | None
    seed: int
    sides: tuple[int | None, int | None, int | None]
    image: ImageReader | None
    memory_bytes: int | None
    state: Path | None
    enlarge_with: tuple[Path, ...] = ()


def _draw(request: ImageRequest, options: AutoregressiveGenerateOptions) -> Iterator[GeneratedImage]:
    """Draw images value by value."""
    from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
    from fitcli.tasks.autoregressive.generate_files import draw_images
    from fitcli.tasks.autoregressive.generate_images import Request
    from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
    from fitcli.tasks.image_size import choose_sides
    from fitcli.tasks.load import load_run

    draws = Draws(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p, seed=request.seed)
    height, width = choose_sides(*request.sides)
    asked = Request(
        count=request.count, height=height, width=width, label=request.label, draws=draws, given=request.image,
        graphs=options.cuda_graphs,
    )  # fmt: skip
    model = load_run(request.checkpoint, request.runtime, AUTOREGRESSIVE)
    return draw_images(model, asked, request.out, request.overwrite, request.runtime)


def _denoise(request: ImageRequest, options: DiffusionGenerateOptions) -> Iterator[GeneratedImage]:
    """Generate images out of noise."""
    from fitcli.tasks.diffusion.config import diffusion_of
    from fitcli.tasks.diffusion.generate.chain import Chain, check_enlargers, factor_of
    from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
    from fitcli.tasks.diffusion.generate.prepare import InitialImage
    from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
    from fitcli.tasks.diffusion.generate_options import SamplingOptions
    from fitcli.tasks.diffusion.task import TASK as DIFFUSION
    from fitcli.tasks.image_size import choose_size
    from fitcli.tasks.load import expect_task, load_run

    folders = (request.checkpoint, *request.enlarge_with)
    configs = [expect_task(folder, DIFFUSION.name) for folder in folders]
    factor = check_enlargers(configs[0], list(zip(request.enlarge_with, configs[1:], strict=True)))
    initial = None if request.image is None else InitialImage(image=request.image, window=options.window)
    # Runs that have learned to enlarge a file leave no choice of its size.
    learned = request.image is not None and factor_of(configs[0]) > 1
    usual = request.image.info.size if request.image is not None and learned else diffusion_of(configs[0]).size
    whole = factor * (factor_of(configs[0]) if learned else 1)
    size = choose_size(
        *request.sides, (usual[0] * whole, usual[1] * whole), request.image is not None and not learned,
        options.window is not None and not learned,
    )  # fmt: skip
    sampling = {each.name: getattr(options, each.name) for each in fields(SamplingOptions)}
    common: dict[str, Any] = {
        "out": request.out, "runtime": request.runtime, "count": request.count, "overwrite": request.overwrite,
        "settings": GenerationSettings(size=size, label=request.label, seed=request.seed, **sampling),
        "limits": ResourceLimits(memory_bytes=request.memory_bytes, state=request.state, preview=options.preview),
        "initial": initial,
    }  # fmt: skip

    def load(folder: Path) -> Checkpoint[FITDenoiser]:
        return load_run(folder, request.runtime, DIFFUSION)

    if request.enlarge_with:
        return Chain(folders=folders, configs=configs, load=load, **common).run()
    return GenerationJob(checkpoint=load(request.checkpoint), **common).run()
