"""Decodes pictures in other processes with limits, where no header bounds the memory or the time of the decoder.

The processes (`decode_process.py`) are started on first use, one per thread that decodes at the same time, and used
again. One that exceeds a limit ends; the next picture starts another.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

import fitcli
from fitcli.images.base import Pixels
from fitcli.images.pillow_decoding import Description

T = TypeVar("T")

PATIENCE_SECONDS = 120
"""Seconds after which a process without an answer is killed, on a busy machine too. Its CPU time has a lower limit."""

MEMORY_BYTES, SECONDS = 384 << 20, 7
"""Address space in bytes that a decoder may take beside its pixels, and CPU time for a small picture."""

KEPT = 16
"""Largest number of processes that are kept for the next picture."""


BEYOND = "it takes more memory or time to decode than its size allows"
"""Message about a picture that exceeds a limit."""

ERRORS = {error.__name__: error for error in (UnidentifiedImageError, Image.DecompressionBombError)}
"""Errors of Pillow that keep their type."""


class DecodingLimit(ValueError):
    """A picture cannot be decoded within the limits."""


def decode_limited(
    codec: str, data: bytes, most_bytes: int, *, memory: int | None = None, seconds: int = SECONDS
) -> Pixels:
    """Decode a picture in memory.

    Args:
        codec: Name of the decoder in `decode_process.py`.
        data: Encoded picture.
        most_bytes: Largest expected size of the pixels in bytes.
        memory: Memory in bytes that decoding may take; None: `MEMORY_BYTES` and four times the pixels.
        seconds: CPU time that decoding may take.

    Raises:
        ValueError: The picture is damaged, larger than expected, or exceeds a limit.
    """
    memory = MEMORY_BYTES + 4 * most_bytes if memory is None else memory
    request = {"codec": codec, "most": most_bytes, "memory": memory, "seconds": seconds}
    return _ask(request, data, lambda answer, stream: _receive(stream, np.empty(answer["shape"], answer["dtype"])))


def describe_file_limited(path: Path, indices: bool = False) -> Description:
    """Read the header of a file with Pillow, see `pillow_decoding.describe`.

    Raises:
        UnidentifiedImageError: The file is no picture that Pillow can read.
        ValueError: The header is damaged or exceeds a limit.
    """
    request = {"codec": "describe", "path": os.path.abspath(path), "indices": indices}
    limits = {"memory": MEMORY_BYTES, "seconds": SECONDS}
    return _ask(request | limits, b"", lambda answer, stream: Description.from_dict(answer))


def decode_file_limited(path: Path, pixels: Pixels, decoding_bytes: int, pixel_seconds: float) -> None:
    """Decode a file with Pillow.

    Args:
        path: Path of the file.
        pixels: Array [height, width, channels] that receives the pixels. Its size is that in the header.
        decoding_bytes: Memory that decoding may take.
        pixel_seconds: CPU time that decoding may take per pixel, beyond `SECONDS`.

    Raises:
        ValueError: The picture is damaged or exceeds a limit.
    """
    seconds = SECONDS + round(pixel_seconds * pixels.shape[0] * pixels.shape[1])
    request = {"codec": "pillow", "path": os.path.abspath(path), "shape": pixels.shape}

    def receive(answer: dict[str, Any], stream: IO[bytes]) -> Pixels:
        if (answer["shape"], answer["dtype"]) != (list(pixels.shape), pixels.dtype.str):
            raise ValueError(f"its pixels are {answer['shape']} {answer['dtype']}, but its header claims others")
        return _receive(stream, pixels)

    _ask(request | {"memory": MEMORY_BYTES + decoding_bytes, "seconds": seconds}, b"", receive)


def _ask(request: dict[str, Any], data: bytes, receive: Callable[[dict[str, Any], IO[bytes]], T]) -> T:
    """Send a request, and return what `receive` makes of the answer and the bytes behind it."""
    process = _take()
    timer = threading.Timer(PATIENCE_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    assert process.stdin is not None
    assert process.stdout is not None
    reusable = False
    try:
        process.stdin.write(json.dumps(request | {"size": len(data)}).encode() + b"\n" + data)
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise DecodingLimit(BEYOND)
        answer = json.loads(line)
        if "error" in answer:
            reusable = True
            raise ERRORS.get(answer["kind"], ValueError)(answer["error"])
        result = receive(answer, process.stdout)
        reusable = True
        return result
    except (BrokenPipeError, json.JSONDecodeError):  # it ended while it was written to or read from
        raise DecodingLimit(BEYOND) from None
    finally:
        timer.cancel()
        if reusable:
            _give_back(process)
        else:
            _end(process)


def _receive(stream: IO[bytes], pixels: Pixels) -> Pixels:
    view = pixels.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise DecodingLimit(BEYOND)
        done += got
    return pixels


_idle: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def _take() -> subprocess.Popen[bytes]:
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.poll() is None:
                return process
    package = os.path.dirname(os.path.dirname(os.path.abspath(fitcli.__file__)))
    paths = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    # -P keeps the working directory, which may hold anything, out of the import path.
    command = [sys.executable, "-P", "-m", "fitcli.images.decode_process"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths, "MALLOC_ARENA_MAX": "2"},  # arenas take address space
        start_new_session=True,  # Ctrl-C reaches the parent only, which ends its processes
    )
    _started.add(process)
    return process


def _give_back(process: subprocess.Popen[bytes]) -> None:
    with _lock:
        if len(_idle) < KEPT:
            _idle.append(process)
            return
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()


_started: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def end_all() -> None:
    """End the idle processes. They also end by themselves, with this process."""
    with _lock:
        processes = list(_idle)
        _idle.clear()
    for process in processes:
        _end(process)


def _forget_all() -> None:
    """Forget the processes in a forked child: they answer to its parent."""
    global _idle, _lock
    _idle, _lock = [], threading.Lock()
    for process in _started:
        process.returncode = 0  # the child must not wait for them


atexit.register(end_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
