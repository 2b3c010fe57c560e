"""What a benchmark ran on and how it was called, written down beside its figures."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LOAD = os.getloadavg()[0]
"""Before the benchmark began: what else the machine had to do."""


def save_results(out: Path | None, packages: Iterable[str], found: Mapping[str, Any], **here: Any) -> None:
    """Write figures to a JSON file, where one is wanted.

    Args:
        out: The file; None for none.
        packages: Whose versions matter.
        found: The figures, by name.
        **here: More about the machine, such as `threads`.
    """
    if out is not None:
        document = {"command": called(), "machine": machine(packages) | here, **found}
        out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """CPU, cores, load before the benchmark, and the versions of some packages."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": LOAD,
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def called() -> str:
    """Return the command line, `python -m benchmarks...`; of absolute paths only the last two parts."""
    words = ("python", *sys.orig_argv[1:])
    return " ".join(shlex.quote(re.sub(r"(?<![^\s=:])(?:/[^/\s]+)+", _shortened, word)) for word in words)


def _shortened(path: re.Match[str]) -> str:
    return "/".join(path.group().split("/")[-2:])
