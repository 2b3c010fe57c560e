"""Decodes pictures for another process, under limits of memory and time: `limited_decoding.py` starts it.

It answers requests until its input ends. A request is a line of JSON and the encoded bytes; an answer is a line of JSON
and the pixels.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from PIL import Image

from fitcli.images.pillow_decoding import describe, rows
from fitcli.interrupts import leave_signals_to_parent


def main() -> None:
    """Answer requests."""
    leave_signals_to_parent()
    reading, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    _warm_up()
    idle = _address_space()
    while line := reading.readline():
        request: dict[str, Any] = json.loads(line)
        data = reading.read(request["size"])
        _limit(idle + len(data) + request["memory"] if idle else 0, request["seconds"])
        try:
            _decode(request, data, answers)
        except (Exception, MemoryError) as error:  # codecs raise errors of many types
            reason = "it needs more memory than its size allows" if isinstance(error, MemoryError) else str(error)
            _answer(answers, {"error": reason or type(error).__name__, "kind": type(error).__name__})
        del data
        answers.flush()


def _decode(request: dict[str, Any], data: bytes, answers: BinaryIO) -> None:
    if request["codec"] == "describe":
        _answer(answers, describe(Path(request["path"]), request["indices"]).as_dict())
        return
    if request["codec"] == "pillow":
        for number, band in enumerate(rows(Path(request["path"]), request["shape"][2])):
            if number == 0:
                _answer(answers, {"shape": request["shape"], "dtype": band.dtype.str})
            answers.write(np.ascontiguousarray(band).data)
        return
    pixels = _picture(request["codec"], data)
    if pixels.nbytes > request["most"]:
        raise ValueError(f"its pixels are {pixels.shape}, more than declared")
    _answer(answers, {"shape": pixels.shape, "dtype": pixels.dtype.str})
    answers.write(np.ascontiguousarray(pixels).data)


def _picture(codec: str, data: bytes) -> Any:
    if codec == "jpegxl":
        return imagecodecs.jpegxl_decode(data, numthreads=1)
    if codec == "jpeg2000":
        return imagecodecs.jpeg2k_decode(data, numthreads=1)
    if codec == "avif":
        return imagecodecs.avif_decode(data, numthreads=1)
    return imagecodecs.jpegxr_decode(data)


def _answer(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")


def _warm_up() -> None:
    """Load the libraries of the decoders before memory is limited: these take address space."""
    Image.init()
    with contextlib.suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 2  # each thread takes address space
    grey = np.zeros((8, 8), np.uint8)
    for codec, name in (("jpegxl", "jpegxl"), ("jpegxr", "jpegxr"), ("jpeg2000", "jpeg2k"), ("avif", "avif")):
        with contextlib.suppress(Exception):
            _picture(codec, getattr(imagecodecs, f"{name}_encode")(grey))


def _limit(memory: int, seconds: int) -> None:
    """Limit the address space in bytes (0 for no limit) and the CPU time from now on; the system ends the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    ends = int(used.ru_utime + used.ru_stime) + seconds + 1
    for kind, limit in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, ends)):
        most = resource.getrlimit(kind)[1]
        if limit:
            resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _address_space() -> int:
    """Return the address space in use in bytes; 0 on systems that don't report it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
