"""`fit generate --checkpoint RUN --out FILE`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from fitcli import console
from fitcli.options import Checkpoint, DeviceName, Json, Memory, PrecisionName, State, parse_window
from fitcli.window import Window

Side = typer.Option(min=1, metavar="PIXELS", help="Of the image; by default the size that the model was trained at.")


def generate(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Image to write: .tif, .ome.tif, .zarr, .png or .jpg.", metavar="FILE")],
    res: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Height and width of the image.")] = None,
    height: Annotated[int | None, Side] = None,
    width: Annotated[int | None, Side] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Class of the image.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of images; several are numbered.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Evaluations of the network.")] = 50,
    sampler: Annotated[
        Literal["ddim", "dpm", "ddpm"], typer.Option(help="dpm needs the fewest steps, ddpm draws noise in each.")
    ] = "ddim",
    guidance: Annotated[float, typer.Option(min=0, help="How much to exaggerate what the label adds.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same image.")] = 0,
    image: Annotated[str | None, typer.Option(metavar="FILE", help="Image to enlarge, or to repaint in part.")] = None,
    window: Annotated[
        Window | None,
        typer.Option(parser=parse_window, metavar="TOP,LEFT,HEIGHT,WIDTH", help="Part of --image to repaint."),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the noise that an enlarged image gets before the next size.")
    ] = 0.5,
    one_pass: Annotated[bool, typer.Option("--one-pass", help="Not coarse to fine: the full size at once.")] = False,
    shift_grid: Annotated[
        bool, typer.Option("--shift-grid", help="Shift the groups by half a group in every other step: softer seams.")
    ] = False,
    preview: Annotated[Path | None, typer.Option(metavar="FILE", help="Small .png or .jpg, every few steps.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")] = False,
    json: Json = False,
    memory: Memory = None,
    state: State = None,
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    """Generate images of any size, coherent over the whole canvas, in bounded memory."""
    from fitcli.checkpoints import load_denoiser
    from fitcli.generation.files import Job
    from fitcli.generation.prepare import Beginning, diffusion_of
    from fitcli.generation.settings import Means, Settings, choose_size
    from fitcli.images.open import open_image
    from fitcli.runtime import choose_runtime

    runtime = choose_runtime(device, precision)
    model = load_denoiser(checkpoint, runtime)
    with ExitStack() as stack:
        beginning = None
        if image is not None:
            beginning = Beginning(image=stack.enter_context(open_image(image)), window=window)
        size = choose_size(res, height, width, diffusion_of(model).size, image is not None, window is not None)
        settings = Settings(
            size=size, label=label, steps=steps, sampler=sampler, guidance=guidance, seed=seed, strength=strength,
            one_pass=one_pass, shift_grid=shift_grid,
        )  # fmt: skip
        means = Means(memory_bytes=memory, state=state, preview=preview)
        job = Job(
            checkpoint=model, out=out, settings=settings, means=means, runtime=runtime, count=count,
            overwrite=overwrite, beginning=beginning,
        )  # fmt: skip
        done = list(job.run())
    if json:
        console.json([one.as_dict() for one in done])
    else:
        console.table(("image", "size", "seconds"), [one.as_row() for one in done])
