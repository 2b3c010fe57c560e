"""Runs `fit` in a process of its own, and tells the most memory that the process had beyond Python with torch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import NamedTuple

MIB = 1 << 20

CODE = """
import json, sys
import torch
from fitcli.process.resident import resident_bytes
before = resident_bytes()
torch.set_num_threads(1)
from fitcli.app import app
from fitcli.errors import FitError
error = ""
try:
    app(standalone_mode=False)
except FitError as raised:
    error = str(raised)
print(json.dumps([error, resident_bytes("VmHWM") - before]))
"""


class Outcome(NamedTuple):
    """What a command did: its error, what it wrote to stderr, and the bytes that it took at its peak."""

    error: str
    stderr: str
    peak_bytes: int


def run_apart(*words: object) -> Outcome:
    """Run a command with one thread; words as on the command line."""
    done = subprocess.run([sys.executable, "-c", CODE, *map(str, words)], capture_output=True, text=True)
    assert done.stdout, done.stderr
    error, peak = json.loads(done.stdout.splitlines()[-1])
    return Outcome(error, done.stderr, peak)
