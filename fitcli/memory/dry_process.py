"""Makes tables for another process, which this work would cost memory: `run_apart.py` starts it.

It answers requests until its input ends, its parent is gone, or none has come for a while. A request is a line of JSON
that describes a dry run (`run_document.py`); an answer is one, too: the document of a table, or the text of an error.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
import time
from typing import Any

from fitcli.errors import FitError
from fitcli.interrupts import leave_signals_to_parent
from fitcli.memory.run_document import from_document

IDLE_SECONDS = 5.0
"""Seconds without a request after which the process ends: it holds more memory than most jobs it works for."""


def main() -> None:
    """Answer requests of the process whose number is the first argument."""
    leave_signals_to_parent()
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    # Each request waits for the answer to the one before, so that none rests in the buffer while `select` waits.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    while select.select([requests], [], [], IDLE_SECONDS)[0] and (request := requests.readline()).endswith(b"\n"):
        answers.write(json.dumps(answer(request)).encode() + b"\n")
        answers.flush()


def answer(request: bytes) -> dict[str, Any]:
    """Return the document of the table of a dry run.

    Returns:
        {"table": ...}; or {"error": text} if the step cannot run without memory.
    """
    try:
        return {"table": from_document(json.loads(request)).table().to_document()}
    except FitError as error:
        return {"error": str(error)}


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: an orphan has another one."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
