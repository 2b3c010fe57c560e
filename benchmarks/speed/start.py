"""Measures how long the commands take to start: wall time of whole processes, and the slowest imports.

    python -m benchmarks.speed.start [--repeats 5] [--out FILE.json]

The commands take turns. The first round is not measured, and the median of the others counts. Goal: `fit --help` below
half a second. Imports: seconds of a module by itself and with the modules that it imports, from `python -X importtime`.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.speed.streaming import make_run
from benchmarks.support.image_sources import slide_window, write_image
from benchmarks.support.machine import save_results

SIZE = 512
"""Side in pixels of the image for `fit info` and `fit classify`."""


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the arguments of Python for every command, by its name."""
    image = folder / "image.tif"
    write_image(image, SIZE, "jpeg", [slide_window(0)])
    run = make_run(folder, "debug")
    fit = ["-m", "fitcli"]
    return {
        "python": ["-c", "pass"],
        "python with torch": ["-c", "import torch"],
        "fit --version": [*fit, "--version"],
        "fit --help": [*fit, "--help"],
        "fit classify --help": [*fit, "classify", "--help"],
        "fit info": [*fit, "info", str(image)],
        f"fit classify, {SIZE} x {SIZE}": [*fit, "classify", str(image), "--checkpoint", str(run), "--device", "cpu"],
    }


def process_seconds(arguments: list[str]) -> float:
    """Return the wall seconds of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - began


def slowest_imports(arguments: list[str], count: int = 10) -> list[dict[str, Any]]:
    """Return the slowest imports of a command; `seconds` includes the modules that each imports in turn."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    rows: list[dict[str, Any]] = []
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[0].strip().isdigit():
            own, total = (int(part) / 1e6 for part in parts[:2])
            rows.append({"module": parts[2].strip(), "own_seconds": own, "seconds": total})
    return sorted(rows, key=lambda row: -row["seconds"])[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        named = commands(Path(folder))
        rounds = [
            {name: process_seconds(arguments) for name, arguments in named.items()} for _ in range(options.repeats + 1)
        ][1:]
        imports = {name: slowest_imports(named[name]) for name in named if name.startswith("fit")}
    seconds = {name: statistics.median(one[name] for one in rounds) for name in named}
    for name, value in seconds.items():
        print(f"{name:32} {value:6.2f} s")
    for name in ("fit --help", "fit info"):
        text = ", ".join(f"{row['module']} {row['seconds']:.2f}" for row in imports[name][:6])
        print(f"{name}: {text}")
    results = {"seconds": seconds, "rounds": rounds, "imports": imports}
    save_results(options.out, ["torch", "typer", "rich", "numpy"], results)


if __name__ == "__main__":
    main()
