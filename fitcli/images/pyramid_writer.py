"""Writes pyramids in one pass: takes windows of pixels, and gives the chunks of every level to a `ChunkSink`.

The sink of a format encodes the chunks and stores them.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, ImageWriter, Pixels
from fitcli.images.chunk_assembly import Assembly, Chunk
from fitcli.images.decode_pool import usable_cores
from fitcli.images.publishing import cannot_write
from fitcli.images.pyramid import Resampling, halve
from fitcli.images.window import Window

MAX_THREADS = 8
"""Largest number of encoding threads: more of them wait for the lock of the assembly."""


class ChunkSink(ABC):
    """Encodes chunks and stores them until the image is finished. It owns the files under temporary names.

    Attributes:
        planar: Memory layout that `encode` is fastest with: one channel after the other (True), or one pixel after
            the other.
    """

    planar: bool

    @abstractmethod
    def encode(self, pixels: Pixels) -> list[bytes]:
        """Encode a chunk as one piece, or as one per channel. Called from several threads.

        Args:
            pixels: Array [height, width, channels]; smaller than a chunk at the right and lower edges of the image.
        """

    @abstractmethod
    def put(self, level: int, row: int, column: int, pieces: list[bytes]) -> None:
        """Store an encoded chunk. Called once per chunk, in any order, from several threads. May raise `OSError`."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the files, with zeros for chunks that were never put, and rename the image to its path."""

    @abstractmethod
    def discard(self) -> None:
        """Remove everything, scratch files included. Idempotent; does nothing after `finish`."""


def check_write_arguments(info: ImageInfo, window: Window, pixels: Pixels) -> None:
    """Check the arguments of `ImageWriter.write`.

    Raises:
        ValueError: Window, shape or dtype don't fit the image.
    """
    if window != window.clip(info.height, info.width) and window.area:
        raise ValueError(f"{window} does not lie on the image of {info.height} x {info.width} pixels")
    expected = (window.height, window.width, info.channels)
    if pixels.shape != expected:
        raise ValueError(f"pixels of {window} must have the shape {expected}, not {pixels.shape}")
    if pixels.dtype.newbyteorder("=") != info.dtype:
        raise ValueError(f"the image takes {info.dtype} pixels, not {pixels.dtype}")


class PyramidWriter(ImageWriter):
    """Assembles chunks from windows, halves complete chunks into the next level, and gives all of them to a sink.

    Memory is bounded whatever the size of the image: `memory_bytes` for incomplete chunks, at most as much again for
    chunks that wait to be encoded (at least one), a few chunks per thread for encoding, and about 20 bytes per chunk of
    the image.

    Args:
        path: Path of the finished image. The scratch file is in the same folder.
        info: Complete description, with the `levels` and the `chunk` to write.
        sink: Encodes and stores the chunks. The writer finishes or discards it.
        resampling: Method by which each level is computed from the one before.
        memory_bytes: Memory for incomplete chunks. Further ones wait in the scratch file.
        threads: Number of encoding threads; None: one per core, at most 8. Fewer if their chunks exceed
            `memory_bytes`.
    """

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        sink: ChunkSink,
        *,
        resampling: Resampling,
        memory_bytes: int,
        threads: int | None = None,
    ) -> None:
        assert info.chunk is not None
        self.path, self.info = path, info
        self._sink, self._resampling, self._chunk = sink, resampling, info.chunk[0]
        threads = threads or min(usable_cores(), MAX_THREADS)
        chunk_bytes = self._chunk**2 * info.channels * info.dtype.itemsize
        self._most_in_flight = max(1, min(4 * threads, memory_bytes // chunk_bytes))
        try:
            folder = Path(os.path.realpath(path)).parent
            self._assembly = Assembly(info, self._chunk, sink.planar, memory_bytes, folder)
            self._pool = ThreadPoolExecutor(min(threads, self._most_in_flight), thread_name_prefix="fit-encode")
        except BaseException:
            sink.discard()
            raise
        self._in_flight = 0
        self._progress = threading.Condition()
        self._failure: BaseException | None = None
        self._over = False

    def write(self, window: Window, pixels: Pixels) -> None:
        """Put pixels on the canvas, see `ImageWriter.write`. Thread-safe; you may reuse `pixels` afterwards.

        Make sure that windows don't overlap: some overlaps raise `ValueError`, others corrupt the image silently.
        """
        if self._over:
            raise ImageError(self.path, "is closed; create it again to write to it")
        check_write_arguments(self.info, window, pixels)
        try:
            for chunk in self._assembly.add(0, window, pixels):
                self._submit(chunk)
        except OSError as error:
            self._fail(error)
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        if self._over:
            return
        try:
            self._wait()
            for level in range(len(self.info.levels)):
                for key in self._assembly.remaining(level):
                    self._submit(self._assembly.take(key))
                self._wait()
            self._over = True
            self._pool.shutdown()
            self._assembly.close()
            self._sink.finish()
        except OSError as error:
            self.discard()
            raise cannot_write(self.path, error) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        self._over = True
        self._fail(ImageError(self.path, "was discarded"))
        self._pool.shutdown(cancel_futures=True)
        self._assembly.close()
        self._sink.discard()

    def _submit(self, chunk: Chunk) -> None:
        with self._progress:
            self._progress.wait_for(lambda: self._failure or self._in_flight < self._most_in_flight)
            if self._failure:
                raise self._failure
            self._in_flight += 1
        self._pool.submit(self._finish, chunk)

    def _finish(self, chunk: Chunk) -> None:
        """Encode a chunk, and the chunks of smaller levels that it completes."""
        try:
            last = len(self.info.levels) - 1
            following: Chunk | None = chunk
            while following is not None and self._failure is None:
                chunk, following = following, None
                self._sink.put(chunk.level, chunk.row, chunk.column, self._sink.encode(chunk.pixels))
                if chunk.level < last:
                    half = halve(chunk.pixels, self._resampling, self.info.nodata)
                    side = self._chunk // 2
                    window = Window(chunk.row * side, chunk.column * side, *half.shape[:2])
                    # A halved chunk lies within one chunk of the next level, so it completes at most that one.
                    following = next(iter(list(self._assembly.add(chunk.level + 1, window, half))), None)
        except BaseException as error:
            self._fail(error)
        finally:
            with self._progress:
                self._in_flight -= 1
                self._progress.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._progress:
            self._failure = self._failure or error
            self._progress.notify_all()

    def _wait(self) -> None:
        with self._progress:
            self._progress.wait_for(lambda: self._failure or not self._in_flight)
            if self._failure:
                raise self._failure
