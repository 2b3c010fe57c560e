"""Writers that are killed, or whose disk is full, keep the old image; nothing half-written is read."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.reader_contract import read_all

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window

SIDE = 600

WRITE = """
import sys
import numpy as np
from pathlib import Path
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
info = ImageInfo(height=600, width=600, channels=3, dtype=np.dtype("u1"), color=True)
print("ready", flush=True)
while True:
    with create_image(Path(sys.argv[1]), info, compression=sys.argv[2], chunk=64, threads=1) as canvas:
        for top in range(0, 600, 100):
            canvas.write(Window(top, 0, 100, 600), np.full((100, 600, 3), 2, np.uint8))
"""


def write(path: Path, value: int, compression: str) -> None:
    info = ImageInfo(height=SIDE, width=SIDE, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(path, info, compression=compression, chunk=64, threads=1) as canvas:  # type: ignore[arg-type]
        noise = np.random.default_rng(value).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
        canvas.write(Window(0, 0, SIDE, SIDE), noise if value > 2 else np.full_like(noise, value))


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif"])
def test_killed_at_any_moment(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, 1, "zstd")
    root = str(Path(__file__).parent.parent.parent)
    seen = set()
    for delay in (0.0, 0.01, 0.03, 0.05, 0.08):
        arguments = [sys.executable, "-c", WRITE, str(path), "zstd"]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root})
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with open_image(path) as image:
            values = np.unique(read_all(image))
        assert len(values) == 1, "the whole old image or the whole new one"
        seen.add(int(values[0]))
    assert seen <= {1, 2}


@pytest.mark.parametrize("name", ["image.tif", "image.ome.tif", "image.zarr", "image.png"])
def test_no_room_for_the_file(tmp_path: Path, name: str) -> None:
    """A limit on the size of files imitates a full disk: the system refuses to write, at any byte."""
    path = tmp_path / name
    compression = "none" if name.endswith(("zarr", "tif")) else None
    write(path, 1, compression)  # type: ignore[arg-type]
    before = sorted(os.listdir(tmp_path))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                write(path, 3, compression)  # type: ignore[arg-type]
            except ImageError as error:
                status = 0 if "cannot be written" in str(error) and "\n" not in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sorted(os.listdir(tmp_path)) == before, "nothing is left"
    with open_image(path) as image:
        assert (read_all(image) == 1).all()
