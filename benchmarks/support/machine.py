"""Writes the figures of a benchmark to a file, with its command line and the machine."""

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
"""Load average of the machine just before the benchmark."""


def save_results(out: Path | None, packages: Iterable[str], results: Mapping[str, Any], **here: Any) -> None:
    """Write figures to a JSON file.

    Args:
        out: The file. None writes nothing.
        packages: Packages whose versions are recorded, if they are installed.
        results: The figures by name.
        **here: More about the machine, such as `threads`.
    """
    if out is not None:
        document = {"command": command_line(), "machine": machine(packages) | here, **results}
        out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """Return CPU, cores, load before the benchmark, and the versions of the packages that are installed."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load": LOAD,
        "versions": {name: version for name in packages if (version := _version(name)) is not None},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def command_line() -> str:
    """Return the command line, `python -m benchmarks...`; of absolute paths only the last two parts."""
    words = ("python", *sys.orig_argv[1:])
    return " ".join(shlex.quote(re.sub(r"(?<![^\s=:])(?:/[^/\s]+)+", _shortened, word)) for word in words)


def _shortened(path: re.Match[str]) -> str:
    return "/".join(path.group().split("/")[-2:])
