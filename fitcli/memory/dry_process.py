"""Makes tables for another process, which this work would cost memory: `run_apart.py` starts it.

It answers requests until its input ends, its parent is gone, or none has come for a while. A request is the length of a
pickled dry run and the run; an answer is a line of JSON: the document of a table, or the text of an error.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import sys
import threading
import time
from typing import Any, BinaryIO

from fitcli.errors import FitError
from fitcli.interrupts import leave_signals_to_parent

IDLE_SECONDS = 5.0
"""Seconds without a request after which the process ends: it holds more memory than most jobs it works for."""

LENGTH_BYTES = 8
"""Bytes of the length of a request, the lowest first."""


def main() -> None:
    """Answer requests of the process whose number is the first argument."""
    leave_signals_to_parent()
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    while select.select([requests], [], [], IDLE_SECONDS)[0] and (length := _read(requests, LENGTH_BYTES)):
        answers.write(json.dumps(answer(_read(requests, int.from_bytes(length, "little")))).encode() + b"\n")
        answers.flush()


def answer(request: bytes) -> dict[str, Any]:
    """Return the document of the table of a pickled dry run.

    Returns:
        {"table": ...}; {"error": text} if the step cannot run without memory; {"unknown": text} if this process lacks
        the code of the run.
    """
    try:
        run = pickle.loads(request)
    except Exception as error:
        return {"unknown": str(error)}
    try:
        return {"table": run.table().to_document()}
    except FitError as error:
        return {"error": str(error)}


def _read(stream: BinaryIO, count: int) -> bytes:
    """Read `count` bytes; fewer at the end of the stream."""
    data = b""
    while len(data) < count and (more := stream.read(count - len(data))):
        data += more
    return data


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: an orphan has another one."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
