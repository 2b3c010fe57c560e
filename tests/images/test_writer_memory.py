"""How much memory a canvas takes, measured in a fresh process: bounded, whatever the order of the windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
    """Growth of the peak resident size from the first window to the finished file."""
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
