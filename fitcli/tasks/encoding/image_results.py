"""Processes the images of a command one by one. A bad image is reported, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fitcli.distributed.image_queue import ImageQueue, ResultJournal
from fitcli.errors import ImageError, OutOfMemory
from fitcli.images.base import ImageReader
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.finite_output import NonFiniteOutput
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.image_opener import ImageOpener


def image_results(
    queue: ImageQueue,
    preprocessing: Preprocessing,
    settings: EncodingSettings,
    paths: Sequence[Path],
    process: Callable[[int, ImageReader], dict[str, Any]],
    journal: ResultJournal | None,
) -> Iterator[dict[str, Any] | None]:
    """Process images, which the processes of a job share.

    Args:
        queue: The processes.
        preprocessing: How the model reads images.
        settings: Memory limit, and choice of what is read of each image.
        paths: The images.
        process: Returns the result of an image as JSON data, from its number and the open image.
        journal: Results of an earlier start of the job; None for none.

    Yields:
        The results with the `path` as it was given, in order, on the first process; None for an image that cannot be
        read or computed, which is reported.
    """
    opener = ImageOpener(queue, preprocessing, settings.read_as)

    def attempt(number: int) -> dict[str, Any] | None:
        try:
            with opener.open(paths[number]) as image:
                return process(number, image) | {"path": str(paths[number])}
        except (ImageError, NonFiniteOutput, OutOfMemory) as error:
            opener.report(error)
            return None

    yield from queue.results(len(paths), attempt, journal)
    if queue.world.is_first:
        opener.finish()
