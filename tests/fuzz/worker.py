"""Reads images that may be harmful, and reports what happened. `campaign.py` runs it as a process.

It takes one path per line, and answers with one JSON document per line: outcome, seconds, additional memory in bytes,
and actions outside the path.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.open import open_image
from fitcli.images.raster import png, reader
from fitcli.images.window import Window

ADDRESS_SPACE = 8 << 30
"""Bytes of address space that the process may reserve after its start: more makes it crash, not swap."""

LARGEST_WINDOW = 16 << 20
"""Images of more bytes of pixels are read in pieces only."""

FORBIDDEN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "os.remove",
             "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate", "shutil.rmtree",
             "pty.spawn", "urllib.Request", "ctypes.dlopen", "os.putenv")  # fmt: skip
"""Events of `sys.addaudithook` that no reader may cause."""

DECODER = "fitcli.images.decode_process"
"""Module of the one program that a reader may start: a decoder under limits, which reads the image alone."""

WATCHED = ("open", "os.listdir", "os.scandir", "glob.glob")
"""Events whose path must lie inside the image."""


class Watch:
    """Records files that are opened and actions outside of a path, while `inside` is set to it.

    Attributes:
        inside: Real path of the image that is being read; None to record nothing.
        seen: Events outside of it.
    """

    def __init__(self) -> None:
        self.inside: str | None = None
        self.seen: list[str] = []
        self._libraries = tuple(
            {os.path.realpath(place) for place in sys.path if place} | {sys.prefix, sys.base_prefix}
        )
        # A codec that is imported late would be read from, or compiled into, a cache outside of the libraries.
        sys.dont_write_bytecode, sys.pycache_prefix = True, None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event == "subprocess.Popen" and arguments[1][-1] == DECODER:
            return
        if event in FORBIDDEN:
            self.seen.append(event)
        elif event in WATCHED and isinstance(arguments[0], str | bytes | os.PathLike):
            inside, self.inside = self.inside, None  # `realpath` must not be recorded
            real = os.path.realpath(os.fsdecode(arguments[0]))
            self.inside = inside
            code = real.startswith(self._libraries) and real.endswith((".py", ".pyc", ".so"))
            if real not in (inside, os.devnull) and not real.startswith(inside + os.sep) and not code:
                self.seen.append(f"{event} {real}")


def read_everything(path: Path) -> str:
    """Open an image and read all its levels, whole and in pieces, which must agree."""
    with open_image(path) as image:
        for level in range(len(image.info.levels)):
            _read_level(image, level)
        repr(image.info)
    if image.info.format == "PNG":
        _read_in_strips(path)
    return "pixels"


def _read_in_strips(path: Path) -> None:
    """Read a PNG in strips, as if it were large: the pixels must be the same, unless damage is an error."""
    usual = reader.AT_ONCE_BYTES, png.STRIP_BYTES
    with open_image(path) as image:
        height, width = image.info.size
        pixels = image.read(Window(0, 0, min(height, 256), min(width, 256)))
    reader.AT_ONCE_BYTES, png.STRIP_BYTES = 0, 1000
    try:
        with open_image(path) as image:
            parts = [image.read(Window(top, 0, 64, 256)) for top in (0, 128, 64, 192)]
        parts[1:3] = parts[2], parts[1]
        if np.concatenate(parts).tobytes() != pixels.tobytes():
            raise AssertionError("differs when read in strips")
    except ImageError:
        pass  # the damage is behind the pixels that were read before
    finally:
        reader.AT_ONCE_BYTES, png.STRIP_BYTES = usual


def _read_level(image: ImageReader, number: int) -> None:
    info, level = image.info, image.info.levels[number]
    height, width = level.height, level.width
    size = height * width * info.channels * info.dtype.itemsize
    middle, centre = height // 2, width // 2
    if size > LARGEST_WINDOW:
        side = max(int((LARGEST_WINDOW / 16 / info.channels / info.dtype.itemsize) ** 0.5), 1)
        for top, left in ((0, 0), (middle, centre), (height - side, width - side)):
            _read(image, Window(top, left, side, side), number)
        return
    parts = [Window(top, left, middle + 1, centre + 1) for top in (middle, 0) for left in (centre, 0)]
    pieces = [_read(image, part, number) for part in parts]
    whole = _read(image, Window(0, 0, height, width), number)
    for part, piece in zip(parts, pieces, strict=True):
        if whole[part.clip(height, width).slices()].tobytes() != piece.tobytes():
            raise AssertionError(f"level {number}: {part} differs when read alone")


def _read(image: ImageReader, window: Window, number: int) -> Pixels:
    level = image.info.levels[number]
    clipped = window.clip(level.height, level.width)
    pixels = image.read(window, number)
    expected = (clipped.height, clipped.width, image.info.channels), image.info.dtype
    if (pixels.shape, pixels.dtype) != expected:
        raise AssertionError(f"read {pixels.shape} {pixels.dtype} where {expected} was promised")
    np.add.reduce(pixels.view(np.uint8) if pixels.flags.c_contiguous else pixels, axis=None)
    return pixels


def judge(path: Path, watch: Watch) -> dict[str, Any]:
    """Read one path and return what happened as JSON data."""
    before = _start_measuring()
    began = _clocks()
    watch.seen.clear()
    detail = ""
    try:
        watch.inside = os.path.realpath(path)
        try:
            outcome = read_everything(path)
        finally:
            watch.inside = None
    except ImageError as error:
        outcome, detail = "ImageError", error.reason
        if str(path) not in str(error) or "\n" in str(error) or len(str(error)) > 1000:
            outcome = "unclear ImageError"
    except BaseException as error:
        outcome, detail = type(error).__name__, traceback.format_exc()
    seconds = min(now - then for now, then in zip(_clocks(), began, strict=True))
    memory = max(_status("VmHWM") - before, 0)
    return {"outcome": outcome, "detail": detail, "seconds": seconds, "memory": memory, "outside": watch.seen[:5]}


def _clocks() -> tuple[float, float]:
    """Return the time on the wall, and the time of cores that this process and its children took.

    The wall runs on while other processes of a busy machine compute; the sum over cores counts threads twice.
    """
    usage = os.times()
    return time.perf_counter(), usage.user + usage.system + usage.children_user + usage.children_system


def _start_measuring() -> int:
    """Reset the peak of memory (Linux: /proc/self/clear_refs); return the memory in use in bytes."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name}")


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    warnings.simplefilter("ignore")
    watch = Watch()
    warm_up = Path(sys.argv[1])
    for path in sorted(warm_up.iterdir()):  # libraries import some modules late
        read_everything(path)
    limit = _status("VmSize") + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        answer = judge(Path(json.loads(line)), watch)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
