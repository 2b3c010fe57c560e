"""`fit generate --checkpoint RUN --out FILE`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fitcli import console
from fitcli.options import Checkpoint, DeviceName, Json, Memory, PrecisionName, State, given, parse_window
from fitcli.window import Window

Side = typer.Option(min=1, metavar="PIXELS", help="Of the image; by default the size that the model was trained at.")


def _diffusion(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With a run of --task diffusion", **limits)


def _autoregressive(help: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="With a run of --task autoregressive", **limits)


def generate(
    context: typer.Context,
    checkpoint: Checkpoint,
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
    state: State = None,
    temperature: Annotated[float, _autoregressive("Below 1 likely values get likelier; 0: the likeliest.", min=0)] = 1,
    top_k: Annotated[int | None, _autoregressive("Draw from the K likeliest values alone.", min=1, metavar="K")] = None,
    top_p: Annotated[
        float, _autoregressive("Draw from as few of the likeliest values as together have this probability.", max=1)
    ] = 1,
) -> None:
    """Generate images: of any size, coherent over the whole canvas, in bounded memory; or value by value."""
    from fitcli.autoregression_images import Request
    from fitcli.checkpoints import load_decoder, load_denoiser
    from fitcli.decoding.draw import Draws
    from fitcli.generation.drawn import Drawn, draw_images
    from fitcli.generation.files import Job
    from fitcli.generation.generated import Generated
    from fitcli.generation.prepare import Beginning, diffusion_of
    from fitcli.generation.settings import Means, Settings, check_options, choose_sides, choose_size
    from fitcli.images.open import open_image
    from fitcli.run_config import load_config
    from fitcli.runtime import choose_runtime

    runtime, done = choose_runtime(device, precision), list[Generated | Drawn]()
    with ExitStack() as stack:
        opened = None if image is None else stack.enter_context(open_image(image))
        if load_config(checkpoint).task == "autoregressive":
            check_options("autoregressive", given(context))
            sides = choose_sides(res, height, width)
            draws = Draws(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
            request = Request(count=count, height=sides[0], width=sides[1], label=label, draws=draws, given=opened)
            done.extend(draw_images(load_decoder(checkpoint, runtime), request, out, overwrite, runtime))
        else:
            model = load_denoiser(checkpoint, runtime)
            check_options("diffusion", given(context))
            begin = None if opened is None else Beginning(image=opened, window=window)
            size = choose_size(res, height, width, diffusion_of(model).size, image is not None, window is not None)
            settings = Settings(
                size=size, label=label, steps=steps, sampler=sampler, guidance=guidance, seed=seed, strength=strength,
                one_pass=one_pass, shift_grid=shift_grid,
            )  # fmt: skip
            job = Job(
                checkpoint=model, out=out, settings=settings, runtime=runtime, count=count, overwrite=overwrite,
                means=Means(memory_bytes=memory, state=state, preview=preview), beginning=begin,
            )  # fmt: skip
            done.extend(job.run())
    if json:
        console.json([one.as_dict() for one in done])
    else:
        console.table(("image", "size", "seconds"), [one.as_row() for one in done])
