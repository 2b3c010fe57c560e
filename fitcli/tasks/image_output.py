"""From a finished canvas to an image file, window by window; and where the files go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fitcli.errors import FitError
from fitcli.files.output_checks import check_output_file
from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.chunk_encoding import Compression
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.diffusion.canvas import Canvas
from fitcli.tasks.diffusion.generate.sources import canvas_values

BAND, STRIDE = 512, 2048
"""(height, width) in pixels of the windows that are written at a time."""

WRITER_BYTES = 32 << 20
"""For chunks that are not complete yet; bands complete them soon."""

RASTERS = (".png", ".jpg", ".jpeg")


def numbered(path: Path, count: int) -> list[Path]:
    """Where the images go: `path` itself for one, else `name-0.tif`, `name-1.tif`, ..."""
    if count == 1:
        return [path]
    suffixes = (
        "".join(path.suffixes[-2:])
        if path.name.lower().endswith((".ome.tif", ".ome.tiff", ".ome.zarr"))
        else path.suffix
    )
    stem = path.name[: len(path.name) - len(suffixes)]
    return [path.with_name(f"{stem}-{number}{suffixes}") for number in range(count)]


def check_outputs(paths: list[Path], overwrite: bool, info: ImageInfo) -> None:
    """Find out before hours of work whether the images can be written.

    Raises:
        FitError: Something stands there already, there is no such format, or nothing can be written there.
    """
    for path in paths:
        check_output_file("--out", path)
        if path.exists() and not overwrite:
            raise FitError(f"--out {path}: is there already; give another name, or --overwrite")
    create_image(paths[0], info).discard()


def output_info(
    size: tuple[int, int],
    preprocessing: Preprocessing,
    mpp: float | None = None,
    geo: GeoReference | None = None,
) -> ImageInfo:
    """Of the image that a model generates."""
    return ImageInfo(
        height=size[0],
        width=size[1],
        channels=preprocessing.channels,
        dtype=PixelRange.of(preprocessing).dtype,
        color=preprocessing.channels in (3, 4),
        mpp=mpp,
        geo=geo,
    )


def writing_bytes(path: Path, info: ImageInfo) -> int:
    """Memory that writing takes."""
    whole = info.height * info.width * info.channels * info.dtype.itemsize
    return 2 * whole if path.suffix.lower() in RASTERS else 3 * WRITER_BYTES


def write_image(
    path: Path,
    info: ImageInfo,
    read: Callable[[Window], Pixels],
    description: str | None = None,
    lossless: bool = False,
) -> None:
    """Write an image whose pixels come by windows, pyramid included.

    Args:
        path: Its suffix is the format.
        info: Of the image.
        read: Gives the pixels of a window.
        description: What the file says about itself.
        lossless: Not as JPEG where the format leaves the choice.

    Raises:
        ImageError: It cannot be written.
    """
    exact: Compression | None = "deflate" if lossless and path.suffix.lower() in (".tif", ".tiff") else None
    with create_image(path, info, compression=exact, memory_bytes=WRITER_BYTES, description=description) as writer:
        for window in _windows(info):
            writer.write(window, read(window))


def generated_pixels(
    canvas: Canvas, patch: int, scale: float, preprocessing: Preprocessing
) -> Callable[[Window], Pixels]:
    """The pixels of a finished canvas by windows."""
    values = PixelRange.of(preprocessing)

    def read(window: Window) -> Pixels:
        return values.to_pixels(canvas_values(canvas, patch, window) / np.float32(2 * scale) + np.float32(0.5))

    return read


def repainted_pixels(
    image: ImageReader,
    preprocessing: Preprocessing,
    generated: Callable[[Window], Pixels],
    context: Window,
    window: Window,
) -> Callable[[Window], Pixels]:
    """The pixels of an image with a window of it from elsewhere.

    Args:
        generated: Pixels by windows of the context.
        context: What was looked at, in pixels of the image.
        window: What was made up, in pixels of the image.
    """

    def read(wanted: Window) -> Pixels:
        pixels = preprocessing.convert(image.read(wanted), image.info)
        new = wanted.intersection(window)
        if new.area:
            place = new.shift(-wanted.top, -wanted.left).slices()
            pixels[place] = generated(new.shift(-context.top, -context.left))
        return pixels

    return read


def _windows(info: ImageInfo) -> Iterator[Window]:
    for top in range(0, info.height, BAND):
        for left in range(0, info.width, STRIDE):
            yield Window(top, left, BAND, STRIDE).clip(*info.size)
