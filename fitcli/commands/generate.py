"""`fit generate --checkpoint RUN --out FILE`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.commands.options import (
    CheckpointFolder,
    Compile,
    DeviceName,
    Json,
    Memory,
    PrecisionName,
    StateFolder,
    given,
    parse_window,
)
from fitcli.images.window import Window

if TYPE_CHECKING:
    from fitcli.device.runtime import Runtime
    from fitcli.images.base import ImageReader
    from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
    from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
    from fitcli.tasks.generated_image import Generated

Side = typer.Option(min=1, metavar="PIXELS", help="Of the image; by default the size that the model was trained at.")


def _diffusion(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With a run of --task diffusion", **limits)


def _autoregressive(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With a run of --task autoregressive", **limits)


def generate(
    context: typer.Context,
    checkpoint: CheckpointFolder,
    out: Annotated[Path, typer.Option(help="Image to write: .tif, .ome.tif, .zarr, .png or .jpg.", metavar="FILE")],
    res: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Height and width of the image.")] = None,
    height: Annotated[int | None, Side] = None,
    width: Annotated[int | None, Side] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Class of the image.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images; several are numbered.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same image.")] = 0,
    image: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Image to enlarge or to repaint in part; or the upper part of the new one."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")] = False,
    json: Json = False,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    compile: Compile = False,
    steps: Annotated[int, _diffusion("Evaluations of the network.", min=1)] = 50,
    sampler: Annotated[
        Literal["ddim", "dpm", "ddpm"], _diffusion("dpm needs the fewest steps, ddpm draws noise in each.")
    ] = "ddim",
    guidance: Annotated[float, _diffusion("How much to exaggerate what the label adds.", min=0)] = 0.0,
    window: Annotated[
        Window | None, _diffusion("Part of --image to repaint.", parser=parse_window, metavar="TOP,LEFT,HEIGHT,WIDTH")
    ] = None,
    strength: Annotated[
        float, _diffusion("Share of the noise that an enlarged image gets before the next size.", min=0, max=1)
    ] = 0.5,
    one_pass: Annotated[bool, _diffusion("Not coarse to fine: the full size at once.", "--one-pass")] = False,
    shift_grid: Annotated[
        bool, _diffusion("Shift the groups by half a group in every other step: softer seams.", "--shift-grid")
    ] = False,
    preview: Annotated[Path | None, _diffusion("Small .png or .jpg, every few steps.", metavar="FILE")] = None,
    memory: Memory = None,
    state: StateFolder = None,
    temperature: Annotated[float, _autoregressive("Below 1 likely values get likelier; 0: the likeliest.", min=0)] = 1,
    top_k: Annotated[int | None, _autoregressive("Draw from the K likeliest values alone.", min=1, metavar="K")] = None,
    top_p: Annotated[
        float, _autoregressive("Draw from as few of the likeliest values as together have this probability.", max=1)
    ] = 1,
    cuda_graphs: Annotated[
        bool, _autoregressive("On a CUDA device: record what it does, and replay it. The same values.", "--cuda-graphs")
    ] = False,
) -> None:
    """Generate images: of any size, coherent over the whole canvas, in bounded memory; or value by value."""
    from fitcli.device.runtime import choose_runtime
    from fitcli.images.open import open_image
    from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
    from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
    from fitcli.tasks.load import expect_task

    runtime = choose_runtime(device, precision, compiled=compile)
    with ExitStack() as stack:
        opened = None if image is None else stack.enter_context(open_image(image))
        target = ImageRequest(
            checkpoint=checkpoint, runtime=runtime, out=out, overwrite=overwrite, count=count,
            sides=(res, height, width), image=opened, options=given(context),
        )  # fmt: skip
        if expect_task(checkpoint, "diffusion", "autoregressive").task == "autoregressive":
            draws = Draws(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
            done = list(_draw(target, label, draws, cuda_graphs))
        else:
            settings = partial(
                GenerationSettings, label=label, steps=steps, sampler=sampler, guidance=guidance, seed=seed, strength=strength,
                one_pass=one_pass, shift_grid=shift_grid,
            )  # fmt: skip
            done = list(
                _denoise(target, window, settings, ResourceLimits(memory_bytes=memory, state=state, preview=preview))
            )
    if json:
        console.json([one.as_dict() for one in done])
    else:
        console.table(("image", "size", "seconds"), [one.as_row() for one in done])


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRequest:
    """What both kinds of generating have in common.

    Attributes:
        checkpoint: Run folder.
        runtime: Where.
        out, overwrite, count: Files.
        sides: `--res`, `--height` and `--width`.
        image: Given to begin with.
        options: That the user gave.
    """

    checkpoint: Path
    runtime: Runtime
    out: Path
    overwrite: bool
    count: int
    sides: tuple[int | None, int | None, int | None]
    image: ImageReader | None
    options: frozenset[str]


def _draw(target: ImageRequest, label: str | None, draws: Draws, graphs: bool) -> Iterator[Generated]:
    """Value by value."""
    from fitcli.tasks.autoregressive.generate_files import draw_images
    from fitcli.tasks.autoregressive.generate_images import Request
    from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
    from fitcli.tasks.diffusion.generate.settings import check_options, choose_sides
    from fitcli.tasks.load import load_run

    check_options("autoregressive", target.options)
    height, width = choose_sides(*target.sides)
    request = Request(
        count=target.count, height=height, width=width, label=label, draws=draws, given=target.image, graphs=graphs
    )
    model = load_run(target.checkpoint, target.runtime, AUTOREGRESSIVE)
    return draw_images(model, request, target.out, target.overwrite, target.runtime)


def _denoise(
    target: ImageRequest, window: Window | None, settings: Callable[..., GenerationSettings], means: ResourceLimits
) -> Iterator[Generated]:
    """Out of noise."""
    from fitcli.tasks.diffusion.config import diffusion_of
    from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
    from fitcli.tasks.diffusion.generate.prepare import InitialImage
    from fitcli.tasks.diffusion.generate.settings import check_options, choose_size
    from fitcli.tasks.diffusion.task import TASK as DIFFUSION
    from fitcli.tasks.load import load_run

    model = load_run(target.checkpoint, target.runtime, DIFFUSION)
    check_options("diffusion", target.options)
    begin = None if target.image is None else InitialImage(image=target.image, window=window)
    size = choose_size(*target.sides, diffusion_of(model.config).size, target.image is not None, window is not None)
    job = GenerationJob(
        checkpoint=model, out=target.out, settings=settings(size=size), runtime=target.runtime, count=target.count,
        overwrite=target.overwrite, means=means, beginning=begin,
    )  # fmt: skip
    return job.run()
