"""Draws images value by value and writes them to files: `fit generate` for runs of the task "autoregressive"."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.images.base import Pixels
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.tasks.autoregressive.generate_images import Request, generate_images, image_size
from fitcli.tasks.autoregressive.sequences import sequence_of
from fitcli.tasks.generated_image import GeneratedImage, file_description
from fitcli.tasks.image_output import check_outputs, numbered, output_info, write_image
from models.decoder import FITDecoder


def draw_images(
    checkpoint: Checkpoint[FITDecoder], request: Request, out: Path, overwrite: bool, runtime: Runtime
) -> Iterator[GeneratedImage]:
    """Draw the images of a request and write each as soon as it is complete.

    Args:
        checkpoint: A run of the task "autoregressive".
        request: The images to draw.
        out: File to write; several images get numbered names, see `numbered`.
        overwrite: Whether existing files are replaced.
        runtime: Device of the model.

    Raises:
        FitError: The request does not fit the model or the given image, or a file cannot be written.
    """
    began, config = time.perf_counter(), checkpoint.config
    size = image_size(request, sequence_of(config))
    info = output_info(size, config.preprocessing, config.preprocessing.mpp)
    if request.given is not None:
        # Rows below the given ones have the same pixels, and the upper left corner stays in place.
        given = request.given.info
        nodata = config.preprocessing.kept_nodata(given)
        names = given.channel_names if given.channels == info.channels else ()
        info = replace(
            info,
            mpp=given.mpp or info.mpp,
            geo=given.geo,
            ngff_transform=given.ngff_transform,
            nodata=nodata,
            channel_names=names,
        )
    paths, model = numbered(out, request.count), model_hash(checkpoint)
    with console.status(out.name) as show:
        images = generate_images(checkpoint, request, lambda share: show(share, None))
        check_outputs(paths, overwrite, info)
        for number, (path, pixels) in enumerate(zip(paths, images, strict=True)):
            label = request.label or (config.classes[number % len(config.classes)] if config.classes else None)
            settings = {"size": size, "label": label, **asdict(request.draws)}
            if request.given is not None:
                settings["given"] = request.given.path.name
            description = file_description(settings, model, number)
            # Given rows stay as they are, to the bit, if the format allows it.
            write_image(path, info, _reader(pixels), description, lossless=request.given is not None)
            yield GeneratedImage(
                path=path,
                info=info,
                number=number,
                seconds=time.perf_counter() - began,
                peak_bytes=runtime.peak_bytes(),
                about={"label": label},
            )


def _reader(pixels: Pixels) -> Callable[[Window], Pixels]:
    """Return a function that returns the pixels of a window."""
    return lambda window: pixels[window.slices()]
