"""Defines what an image is to the rest of the project: its description, and the interfaces of readers and writers.

It does not depend on file formats; `open.py` chooses those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fitcli.images.contents import Contents
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.georeference import GeoReference
from fitcli.images.ngff_transform import NgffTransform
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice
from fitcli.images.window import Window

if TYPE_CHECKING:
    from fitcli.images.read_as import ReadAs

Pixels = NDArray[Any]
"""Array [height, width, channels], channels last, in the dtype of the file."""


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a pyramid.

    Attributes:
        height, width: Size in pixels.
        downsample: Level-0 pixels per pixel of this level; 1.0 for level 0.
    """

    height: int
    width: int
    downsample: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """The description of an image, available without decoding a pixel.

    Attributes:
        height, width: Size of level 0 in pixels.
        channels: Channels that `read` returns: 3 for colour files without alpha, 1 for grey files.
        dtype: Dtype that `read` returns, in native byte order.
        levels: The pyramid, largest level first; level 0 is full resolution. Leave it out to describe an image that
            you write.
        chunk: (height, width) of the storage unit of level 0; None if the format has none.
        mpp: Microns per pixel at level 0; None if unknown.
        format: Short name: "TIFF", "OME-TIFF", "SVS", "OME-Zarr 0.5", "Zarr", "PNG", ...
        axes: Axes as stored, in the letters of the format ("YXS", "CYX", "TCZYX"); `read` always returns YXC.
        color: Whether the first three channels are red, green and blue.
        alpha: Whether the last of two or four channels says how opaque a pixel is.
        nodata: Value that marks missing pixels, an int if it is whole; None if the file names none.
        geo: Position of level 0 on the Earth; None if unknown.
        palette: Red, green and blue by index, for an image that is read as indices of a palette; else empty.
        ngff_transform: Place of level 0 in the coordinates of an OME-Zarr group; None if the file names none.
        channel_names: Name of each channel, "" where it has none; empty if none has one.
        shown: Lowest and highest value that viewers of a written OME-Zarr show at first; None for the range of the
            dtype, or 0 to 1. Not read.
        features: Places of an image of features, or of a layer over their slide; None for an image of pixels.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    levels: tuple[Level, ...] = ()
    chunk: tuple[int, int] | None = None
    mpp: float | None = None
    format: str = ""
    axes: str = "YXC"
    color: bool = field(default=False)
    alpha: bool = False
    nodata: float | None = None
    geo: GeoReference | None = None
    ngff_transform: NgffTransform | None = None
    palette: tuple[tuple[int, int, int], ...] = ()
    channel_names: tuple[str, ...] = ()
    shown: tuple[float, float] | None = None
    features: FeatureGrid | None = None

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels) < 1:
            raise ValueError(f"an image cannot be {self.height} x {self.width} x {self.channels}")
        if len(self.channel_names) not in (0, self.channels):
            raise ValueError(f"{len(self.channel_names)} names for {self.channels} channels")
        object.__setattr__(self, "dtype", np.dtype(self.dtype).newbyteorder("="))
        if not self.levels:
            object.__setattr__(self, "levels", (Level(self.height, self.width, 1.0),))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of level 0 in pixels."""
        return self.height, self.width

    def layer(self, channels: int, dtype: Any, **other: Any) -> ImageInfo:
        """Return the description of a layer: an image of the same pixels and place, with other values.

        Args:
            channels: Channels of the layer.
            dtype: Their dtype.
            other: More attributes of it.
        """
        return ImageInfo(
            height=self.height,
            width=self.width,
            channels=channels,
            dtype=np.dtype(dtype),
            mpp=self.mpp,
            geo=self.geo,
            ngff_transform=self.ngff_transform,
            features=self.features,
            **other,
        )


class ImageReader(ABC):
    """An open image. Thread-safe; survives fork and pickling, because each process opens its own file handles.

    Attributes:
        path: Path of the open image.
        info: Its description.
        decoding_bytes: Bytes that decoding takes, pixels included, if the image can only be decoded whole; otherwise 0.
        choice: Image and planes that were chosen of the file.
        opened_as: Path with its choice, and what is read of it, with which another process opens the same image; None
            for an image that is no file.
    """

    path: Path
    info: ImageInfo
    decoding_bytes: int = 0
    choice: PlaneChoice = EVERYTHING
    opened_as: tuple[str, ReadAs] | None = None

    @abstractmethod
    def read(self, window: Window, level: int = 0) -> Pixels:
        """Decode the pixels of a window.

        Args:
            window: Window in pixels of `level`. It is clipped to the level: pixels outside are not returned.
            level: Index into `info.levels`.

        Returns:
            Array [height, width, channels] of the clipped window, dtype `info.dtype`. It belongs to the caller.

        Raises:
            ImageError: The level does not exist, or the pixels cannot be read.
        """

    def describe_contents(self) -> Contents:
        """Return the images of the file; none for a format that holds a single plane, and for a part of an image.

        Raises:
            ImageError: The file cannot be read any more.
        """
        return Contents()

    @abstractmethod
    def close(self) -> None:
        """Release file handles and cached chunks. `read` then raises `ImageError`. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ImageWriter(ABC):
    """An image being written (a canvas). It has a temporary name until it is closed.

    Use it as a context manager. Leaving the context normally finishes the file (pyramid included) and renames it to
    `path`; leaving it with an exception removes everything that was written.

    Attributes:
        path: Path of the finished image.
        info: Description of the image.
    """

    path: Path
    info: ImageInfo

    @abstractmethod
    def write(self, window: Window, pixels: Pixels) -> None:
        """Put pixels on the canvas. Pass windows in any order, without overlap; pixels never written are 0.

        Args:
            window: Window in level-0 pixels; it must lie on the image.
            pixels: Array [height, width, channels] of the window, dtype `info.dtype`.

        Raises:
            ValueError: Window, shape or dtype don't fit the image.
            ImageError: The image cannot be written (disk full, ...).
        """

    @abstractmethod
    def close(self) -> None:
        """Write the remaining chunks, the pyramid and the metadata, then rename the file to `path`. Idempotent."""

    @abstractmethod
    def discard(self) -> None:
        """Remove everything that was written. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
