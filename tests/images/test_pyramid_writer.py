"""The canvas gives a sink each chunk once, in bounded memory, whatever the order of the windows."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.writer_contract import cut, halved

from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.pyramid import pyramid_levels
from fitcli.images.pyramid_writer import ChunkSink, PyramidWriter
from fitcli.images.window import Window

PROGRAM = """
import random, sys
from pathlib import Path
import numpy as np
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window

def peak_mib():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

path, side, step = sys.argv[1], int(sys.argv[2]), 1000
pixels = np.random.default_rng(0).integers(0, 16, (step, step, 3), dtype=np.uint8)
windows = [Window(top, left, step, step) for top in range(0, side, step) for left in range(0, side, step)]
random.Random(0).shuffle(windows)
info = ImageInfo(height=side, width=side, channels=3, dtype=np.uint8, color=True)
with create_image(path, info, memory_bytes=16 * 2**20, threads=2) as image:
    image.write(windows[0], pixels)
    before = peak_mib()
    for window in windows[1:]:
        image.write(window, pixels)
print(before, peak_mib())
"""


def growth_mib(path: Path, side: int) -> float:
    """Return the growth of the peak resident size from the first window to the finished file."""
    arguments = [sys.executable, "-c", PROGRAM, str(path), str(side)]
    output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    before, after = map(float, output.split())
    return after - before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("name", ["x.tif", "x.zarr"])
def test_memory_is_bounded_in_any_order(tmp_path: Path, name: str) -> None:
    # The image is 183 MiB; waiting chunks may take 16 MiB and those being encoded as much again.
    assert growth_mib(tmp_path / name, 8000) < 60


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads peak memory from /proc")
@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.zarr"])
def test_memory_does_not_grow_with_the_image(tmp_path: Path, name: str) -> None:
    assert growth_mib(tmp_path / name, 20_000) < 60


class Memory(ChunkSink):
    """Keeps chunks as arrays."""

    planar = False

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.chunks, self.calls = broken, dict[tuple[int, int, int], bytes](), list[str]()

    def encode(self, pixels: Pixels) -> list[bytes]:
        if self.broken:
            raise ZeroDivisionError("the encoder is broken")
        return [pixels.tobytes()]

    def put(self, level: int, row: int, column: int, pieces: list[bytes]) -> None:
        assert (level, row, column) not in self.chunks
        (self.chunks[level, row, column],) = pieces

    def finish(self) -> None:
        self.calls.append("finish")

    def discard(self) -> None:
        self.calls.append("discard")


def writer(folder: Path, sink: ChunkSink, **options: Any) -> PyramidWriter:
    levels = pyramid_levels(70, 101, 32)
    info = ImageInfo(height=70, width=101, channels=2, dtype=np.dtype("u2"), levels=levels, chunk=(32, 32))
    return PyramidWriter(folder / "image", info, sink, **{"resampling": "mean", "memory_bytes": 10**6} | options)


@pytest.mark.parametrize("memory_bytes", [1, 10**6])
@pytest.mark.parametrize("threads", [1, 4])
def test_the_sink_gets_each_chunk_of_each_level_once(tmp_path: Path, memory_bytes: int, threads: int) -> None:
    sink, level = Memory(), np.random.default_rng(0).integers(0, 2**16, (70, 101, 2), np.uint16)
    with writer(tmp_path, sink, memory_bytes=memory_bytes, threads=threads) as canvas:
        windows = cut(70, 101, 23, 41)
        random.Random(0).shuffle(windows)
        for window in windows:
            canvas.write(window, level[window.slices()])
    expected = {}
    for number in range(3):
        for row, column in Window(0, 0, *level.shape[:2]).chunks(32, 32):
            part = level[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
            expected[number, row, column] = part.tobytes()
        level = halved(level)
    assert sink.chunks == expected
    assert sink.calls == ["finish"]


def test_errors_of_encoding_threads_reach_the_caller(tmp_path: Path) -> None:
    sink = Memory(broken=True)
    with pytest.raises(ZeroDivisionError, match="the encoder is broken"), writer(tmp_path, sink) as canvas:
        canvas.write(Window(0, 0, 70, 101), np.zeros((70, 101, 2), np.uint16))
    assert "finish" not in sink.calls
    assert "discard" in sink.calls
