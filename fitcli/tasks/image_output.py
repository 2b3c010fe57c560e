"""Writes generated images window by window, and checks their paths beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fitcli.errors import DataError, FitError
from fitcli.files.output_checks import check_output_file
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunk_encoding import Compression
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange

BAND, STRIDE = 512, 2048
"""(height, width) of the windows to write, in pixels."""

WRITER_BYTES = 32 << 20
"""Memory for incomplete chunks. It is small because windows come in bands, which complete chunks soon."""

RASTERS = (".png", ".jpg", ".jpeg")


def check_writable_pixels(preprocessing: Preprocessing, path: Path) -> None:
    """Check before training that the images of a model could be written.

    Raises:
        DataError: Its pixels are of a type that no format takes.
    """
    if preprocessing.dtype == "int64":
        raise DataError(
            f"{path}: has int64 pixels, which no generated image can have; convert the images to integers of at most "
            "32 bits, or to floats"
        )


def numbered(path: Path, count: int) -> list[Path]:
    """Return the paths of the images: `path` itself for one, else `name-0.tif`, `name-1.tif`, ..."""
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
    """Check before hours of work that the images can be written.

    Raises:
        FitError: A file exists already, the format is unknown, or the folder cannot be written to.
    """
    for path in paths:
        check_output_file("--out", path)
        if path.exists() and not overwrite:
            raise FitError(f"--out {path}: exists already; give another name, or --overwrite")
    create_image(paths[0], info).discard()


def output_info(
    size: tuple[int, int],
    preprocessing: Preprocessing,
    mpp: float | None = None,
    geo: GeoReference | None = None,
    nodata: float | None = None,
    like: ImageInfo | None = None,
) -> ImageInfo:
    """Return the header of an image that a model generates.

    Args:
        size: (height, width) in pixels.
        preprocessing: Preprocessing of the model, for the channels and their dtype.
        mpp, geo: Scale and place on the Earth.
        nodata: Value of missing pixels that the image keeps.
        like: Image of the same area, whose names of channels and coordinates it keeps.
    """
    transform = None if like is None else like.ngff_transform
    return ImageInfo(
        height=size[0],
        width=size[1],
        channels=preprocessing.channels,
        dtype=PixelRange.of(preprocessing).dtype,
        color=preprocessing.channels in (3, 4),
        mpp=mpp,
        geo=geo,
        nodata=nodata,
        ngff_transform=None if like is None or transform is None else transform.resize(like.size, size),
        channel_names=() if like is None or like.channels != preprocessing.channels else like.channel_names,
    )


def writing_bytes(path: Path, info: ImageInfo) -> int:
    """Return the memory that writing takes, in bytes."""
    whole = info.height * info.width * info.channels * info.dtype.itemsize
    return 2 * whole if path.suffix.lower() in RASTERS else 3 * WRITER_BYTES


def write_image(
    path: Path,
    info: ImageInfo,
    read: Callable[[Window], Pixels],
    description: str | None = None,
    lossless: bool = False,
) -> None:
    """Write an image window by window, with its pyramid.

    Args:
        path: File to write; its suffix names the format.
        info: Header of the image.
        read: Returns the pixels of a window.
        description: Text for the metadata of the file.
        lossless: Whether to avoid JPEG compression in formats with a choice.

    Raises:
        ImageError: The image cannot be written.
    """
    exact: Compression | None = "deflate" if lossless and path.suffix.lower() in (".tif", ".tiff") else None
    with create_image(path, info, compression=exact, memory_bytes=WRITER_BYTES, description=description) as writer:
        for window in _windows(info):
            writer.write(window, read(window))


def _windows(info: ImageInfo) -> Iterator[Window]:
    for top in range(0, info.height, BAND):
        for left in range(0, info.width, STRIDE):
            yield Window(top, left, BAND, STRIDE).clip(*info.size)
