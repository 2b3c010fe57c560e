"""Makes the folder of a data set whole or not at all, several files at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import FitError
from fitcli.files.publish import undo_on_failure
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.process.limits import available_cores

RENDERED = 512
"""Side of the windows in which scenes are rendered, in pixels. Other windows would have another grain."""

Stop = Callable[[], None]
"""Raises CancelledError once another file has failed or the user has interrupted."""


def make_files(
    folder: Path,
    subfolders: Sequence[str],
    writers: Sequence[Callable[[Stop], None]],
    finish: Callable[[], None],
    advance: Callable[[float], None],
) -> None:
    """Make a folder and fill it: all of it, or nothing if it fails or is interrupted.

    Args:
        folder: The folder; absent or empty.
        subfolders: Names of the folders in it.
        writers: Write one file each, several at a time; each calls its argument often.
        finish: Writes the small files that describe the others.
        advance: Receives the fraction of the work that was just done.

    Raises:
        FitError: The folder is not empty or cannot be made.
        ImageError: A file cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FitError(f"{folder}: is not an empty folder; choose another one")
    with undo_on_failure(folder):
        _make_folders(folder, subfolders)
        stopped = Event()

        def stop() -> None:
            if stopped.is_set():
                raise CancelledError

        with ThreadPoolExecutor(min(8, available_cores()), "demo") as pool:
            try:
                for _ in pool.map(lambda write: write(stop), writers):
                    advance(1 / len(writers))
            except BaseException:
                # A large image takes seconds: don't wait for it.
                stopped.set()
                raise
        finish()


class SceneImage(NamedTuple):
    """An image file of a scene.

    Attributes:
        path: The file.
        labels: Whether the values are numbers of classes; otherwise they are colours.
        mpp: Microns per pixel in its metadata; None for none.
    """

    path: Path
    labels: bool = False
    mpp: float | None = None


def write_scene_images(
    size: tuple[int, int],
    images: Sequence[SceneImage],
    render: Callable[[Window], Sequence[NDArray[np.uint8]]],
    stop: Stop,
) -> None:
    """Write the images of a scene, window by window.

    Args:
        size: (height, width) of the scene, in pixels.
        images: The images.
        render: Returns the values of each image in a window, [height width 3] or, of labels, [height width].
        stop: See `make_files`.

    Raises:
        ImageError: A file cannot be written.
    """
    height, width = size
    with ExitStack() as stack:
        canvases = []
        for image in images:
            channels = 1 if image.labels else 3
            info = ImageInfo(
                height=height,
                width=width,
                channels=channels,
                dtype=np.dtype(np.uint8),
                color=not image.labels,
                mpp=image.mpp,
            )
            canvas = create_image(image.path, info, resampling="nearest" if image.labels else "mean")
            canvases.append(stack.enter_context(canvas))
        for window in windows(height, width):
            stop()
            for canvas, values in zip(canvases, render(window), strict=True):
                canvas.write(window, values.reshape(window.height, window.width, -1))


def scene_seed(seed: int, number: int) -> int:
    """Return the seed of a scene of a data set: other data sets have other scenes."""
    return seed * 1_000_003 + number


def windows(height: int, width: int) -> Iterator[Window]:
    """Return the windows in which an image of this size is rendered."""
    for top in range(0, height, RENDERED):
        for left in range(0, width, RENDERED):
            yield Window(top, left, RENDERED, RENDERED).clip(height, width)


def _make_folders(folder: Path, subfolders: Sequence[str]) -> None:
    try:
        for name in subfolders:
            (folder / name).mkdir(parents=True)
    except OSError as error:
        raise FitError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None
