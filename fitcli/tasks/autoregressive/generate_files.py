"""Draw images value by value and write them: what `fit generate` does for a run of the task "autoregressive"."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.images.base import Pixels
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.tasks.autoregressive.generate_images import Request, generate_images, image_size
from fitcli.tasks.autoregressive.next_token import sequence_of
from fitcli.tasks.generated_image import Generated, text
from fitcli.tasks.image_output import check_outputs, numbered, output_info, write_image
from models.decoder import FITDecoder


def draw_images(
    checkpoint: Checkpoint[FITDecoder], request: Request, out: Path, overwrite: bool, runtime: Runtime
) -> Iterator[Generated]:
    """Draw the images of a request and write each as soon as it is complete.

    Args:
        checkpoint: Of the task "autoregressive".
        request: What is asked for.
        out: File; for several images the name that they are numbered by.
        overwrite: Replace what is there already.
        runtime: Where the model is.

    Raises:
        FitError: The request does not fit the model or the given image, or nothing can be written.
    """
    began, config = time.perf_counter(), checkpoint.config
    size = image_size(request, sequence_of(config))
    info = output_info(size, config.preprocessing, config.preprocessing.mpp)
    paths, model = numbered(out, request.count), model_hash(checkpoint)
    with console.status(out.name) as show:
        images = generate_images(checkpoint, request, lambda share: show(share, None))
        check_outputs(paths, overwrite, info)
        for number, (path, pixels) in enumerate(zip(paths, images, strict=True)):
            label = request.label or (config.classes[number % len(config.classes)] if config.classes else None)
            said = {"size": size, "label": label, **asdict(request.draws)}
            if request.given is not None:
                said["given"] = request.given.path.name
            # What was given is kept to the bit where the format can.
            write_image(path, info, _reader(pixels), text(said, model, number), lossless=request.given is not None)
            seconds, peak = time.perf_counter() - began, runtime.peak_bytes()
            about = {"label": label}
            yield Generated(path=path, info=info, number=number, seconds=seconds, peak_bytes=peak, about=about)


def _reader(pixels: Pixels) -> Callable[[Window], Pixels]:
    """The pixels of an image by windows."""
    return lambda window: pixels[window.slices()]
