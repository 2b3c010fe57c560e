"""The canvas of all formats that are stored in chunks: pixels in, encoded chunks of every level out, in one pass.

Knows no format; a `ChunkSink` encodes chunks and keeps them.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fitcli.errors import ImageError
from fitcli.files.staging import cannot_write
from fitcli.images.base import ImageInfo, ImageWriter, Pixels
from fitcli.images.chunk_assembly import Assembly, Chunk
from fitcli.images.decode_pool import usable_cores
from fitcli.images.pyramid import Resampling, halve
from fitcli.images.window import Window

MAX_THREADS = 8
"""More encoders than this wait for the lock of the assembly."""


class ChunkSink(ABC):
    """Encodes chunks and keeps them until the image is finished; what is under a temporary name is its own.

    Attributes:
        planar: Memory layout in which it wants pixels: one channel after the other, or one pixel after the other.
    """

    planar: bool

    @abstractmethod
    def encode(self, pixels: Pixels) -> list[bytes]:
        """Bytes of a chunk: one piece, or one per channel. [height, width, channels] is smaller than a chunk at the
        right and lower edges of the image. Called from several threads."""

    @abstractmethod
    def put(self, level: int, row: int, column: int, pieces: list[bytes]) -> None:
        """Keep an encoded chunk. Called once per chunk, in any order, from several threads. May raise `OSError`."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left to write, zeros for chunks that never came, and move the image into place."""

    @abstractmethod
    def discard(self) -> None:
        """Remove everything, scratch files included. Idempotent, and harmless after `finish`."""


def check_pixels(info: ImageInfo, window: Window, pixels: Pixels) -> None:
    """Raises:
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
    """Cuts windows into chunks, halves complete chunks into the next level, and hands all of them to a sink.

    Whatever the size of the image, memory is bounded: `memory_bytes` for chunks that are not complete, at most as much
    again for those that wait to be encoded (at least one chunk), a few chunks per thread for encoding, and about 20
    bytes for each chunk of the image.

    Args:
        path: Where the image will be, for messages and scratch files.
        info: Complete: `levels` and `chunk` say what is written.
        sink: Takes the encoded chunks; owned by the writer from here on.
        resampling: How a level becomes the next.
        memory_bytes: For incomplete chunks; more of them wait in a scratch file beside the image.
        threads: That encode; None for as many as there are cores, at most 8. Fewer if so many chunks exceed
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
        folder = Path(os.path.realpath(path)).parent
        self._assembly = Assembly(info, self._chunk, sink.planar, memory_bytes, folder)
        threads = threads or min(usable_cores(), MAX_THREADS)
        chunk_bytes = self._chunk**2 * info.channels * info.dtype.itemsize
        self._most_in_flight = max(1, min(4 * threads, memory_bytes // chunk_bytes))
        self._pool = ThreadPoolExecutor(min(threads, self._most_in_flight), thread_name_prefix="fit-encode")
        self._in_flight = 0
        self._progress = threading.Condition()
        self._failure: BaseException | None = None
        self._over = False

    def write(self, window: Window, pixels: Pixels) -> None:
        """As `ImageWriter.write`; thread-safe. `pixels` may be reused as soon as it returns.

        Windows must not overlap: that is for the caller to see to. An overlap raises `ValueError` where it is noticed,
        and spoils the image where it is not.
        """
        if self._over:
            raise ImageError(self.path, "is closed; open it anew to write to it")
        check_pixels(self.info, window, pixels)
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
        self._fail(ImageError(self.path, "was given up"))
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
        """Encode a chunk, and the chunks of the levels above that it completes."""
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
                    # A half lies in one chunk of the next level, so it completes at most one.
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
