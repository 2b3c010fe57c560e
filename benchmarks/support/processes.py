"""Runs Python in fresh processes, and reads the time and memory of this one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal


def run_python(*arguments: str) -> str:
    """Run Python in a fresh process, its progress shown, and return what it prints on stdout.

    Raises:
        subprocess.CalledProcessError: The process fails.
    """
    return subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def resident_bytes(kind: Literal["VmRSS", "VmHWM"]) -> int:
    """Return the resident size of this process: now (VmRSS) or at its peak so far (VmHWM).

    Unlike ru_maxrss, VmHWM does not include the parent process.
    """
    return int(Path("/proc/self/status").read_text().split(f"{kind}:")[1].split()[0]) * 1024


def peak_with_torch() -> int:
    """Return the peak resident size in bytes of a fresh process that only imports torch."""
    code = f"import torch; from {__name__} import resident_bytes; print(resident_bytes('VmHWM'))"
    return int(run_python("-c", code))


def timed(job: Callable[[], object]) -> tuple[float, float]:
    """Return (CPU seconds of this process, wall seconds) of one call."""
    cpu, clock = time.process_time(), time.perf_counter()
    job()
    return time.process_time() - cpu, time.perf_counter() - clock
