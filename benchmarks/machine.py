"""What a benchmark ran on, to be noted beside its figures."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """CPU, cores, load at this moment, and the versions of some packages."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": os.getloadavg()[0],
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def called() -> str:
    """How the benchmark was called; of paths that only this machine knows, the last two parts."""
    return " ".join(shlex.quote(re.sub(r"(?:/[^/\s]+)+", _shortened, word)) for word in sys.argv)


def _shortened(path: re.Match[str]) -> str:
    return "/".join(path.group().split("/")[-2:])
