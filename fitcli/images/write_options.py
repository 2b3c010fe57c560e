"""Checks the options of `create_image`, and completes them for a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.chunk_encoding import Compression
from fitcli.images.pyramid import RESAMPLINGS, SUMS, Resampling, pyramid_levels
from fitcli.images.pyramid_writer import ChunkSink, PyramidWriter


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """The options of `create_image`, which explains them.

    Raises:
        ValueError: An option is invalid in every format.
    """

    info: ImageInfo
    chunk: int = 512
    compression: Compression | None = None
    quality: int = 90
    levels: int | Literal["auto"] = "auto"
    resampling: Resampling = "mean"
    memory_bytes: int = 96 * 2**20
    threads: int | None = None
    description: str | None = None
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.chunk < 16 or self.chunk % 16:
            raise ValueError(f"the side of a chunk must be a multiple of 16 pixels, not {self.chunk}")
        if self.compression is not None and self.compression not in get_args(Compression):
            raise ValueError(f"compression must be one of {', '.join(get_args(Compression))}, not {self.compression}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be 1 to 100, not {self.quality}")
        if self.levels != "auto" and self.levels < 1:
            raise ValueError(f"levels must be 1 or more, not {self.levels}")
        if self.resampling not in RESAMPLINGS:
            raise ValueError(f"resampling must be one of {', '.join(RESAMPLINGS)}, not {self.resampling}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be 1 or more, not {self.threads}")
        if self.info.dtype not in SUMS:
            raise ValueError(f"pixels must be integers of at most 32 bits or floats, not {self.info.dtype}")

    def complete(self, image_format: str, axes: str) -> ImageInfo:
        """Return `info` with the levels, chunks and format of the file. Small images get smaller chunks."""
        count = None if self.levels == "auto" else self.levels
        levels = pyramid_levels(self.info.height, self.info.width, self.chunk, count)
        chunk = min(self.chunk, -(-max(self.info.size) // 16) * 16)
        return replace(self.info, levels=levels, chunk=(chunk, chunk), format=image_format, axes=axes)

    def choose_compression(self, path: Path, allowed: tuple[Compression, ...], default: Compression) -> Compression:
        """Return the chosen compression, or the default of the format.

        Raises:
            ImageError: The format does not allow the chosen compression.
        """
        if self.compression is not None and self.compression not in allowed:
            raise ImageError(path, f"cannot be compressed with {self.compression}; use {' or '.join(allowed)}")
        return self.compression or default

    def create_writer(self, path: Path, info: ImageInfo, sink: ChunkSink) -> PyramidWriter:
        """Return a canvas that gives its chunks to the sink."""
        return PyramidWriter(
            path,
            info,
            sink,
            resampling=self.resampling,
            memory_bytes=self.memory_bytes,
            threads=self.threads,
        )
