"""Damages real images in many ways, and reads them in another process.

    python tests/fuzz/campaign.py --cases 20000 --keep failures    # prints the figures as JSON

A case is a number: the same number always gives the same file.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mutations import mutate
from samples import write_samples

SECONDS, MEMORY = 10.0, 300e6
"""Limits of reading one damaged image, in seconds and bytes, including the windows that are read (at most 16 MiB)."""

PATIENCE = 240.0
"""Seconds without an answer after which a worker is killed. Even on a busy machine, it starts within this time."""

WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Figures:
    """Counts and maxima over a number of cases."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    by_format: dict[str, Counter[str]] = field(default_factory=dict)
    most_seconds: float = 0.0
    most_memory: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, name: str, answer: dict[str, Any]) -> bool:
        """Count a case; return False if it broke a promise."""
        self.cases += 1
        outcome = answer["outcome"]
        self.outcomes[outcome] += 1
        self.by_format.setdefault(name.partition("-")[0], Counter())[outcome] += 1
        if outcome == "ImageError":
            self.reasons[re.sub(r"[\d.]+|'[^']*'|\(.*?\)", "#", answer["detail"])[:80]] += 1
        self.most_seconds = max(self.most_seconds, answer["seconds"])
        self.most_memory = max(self.most_memory, answer["memory"])
        kept = outcome in ("pixels", "ImageError") and not answer["outside"]
        if kept and answer["seconds"] <= SECONDS and answer["memory"] <= MEMORY:
            return True
        self.failures.append({"case": number, "sample": name, **answer})
        return False

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON data."""
        return {
            "cases": self.cases,
            "outcomes": dict(self.outcomes.most_common()),
            "hangs": self.outcomes["hang"],
            "crashes": self.outcomes["crash"],
            "most_seconds": round(self.most_seconds, 2),
            "most_memory_mb": round(self.most_memory / 1e6, 1),
            "by_format": {name: dict(counts) for name, counts in sorted(self.by_format.items())},
            "reasons": dict(self.reasons.most_common(60)),
            "failures": self.failures,
        }


class Worker:
    """The reading process. It is started again after it hung or crashed."""

    def __init__(self, samples: Path) -> None:
        self._samples = samples
        self._process: subprocess.Popen[str] | None = None

    def judge(self, path: Path) -> dict[str, Any]:
        """Read a path in the process; return its answer, or the outcome "hang" or "crash"."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(str(path)) + "\n")
        process.stdin.flush()
        line = self._answer(process, PATIENCE)
        if line:
            return dict(json.loads(line))
        outcome = "hang" if process.poll() is None and line is None else "crash"
        self.stop()
        detail = f"exit status {process.returncode}"
        return {"outcome": outcome, "detail": detail, "seconds": 0.0, "memory": 0, "outside": []}

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        arguments = [sys.executable, str(WORKER), str(self._samples)]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[str], seconds: float) -> str | None:
        """Return a line, "" if the process ended, or None after a timeout."""
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            return process.stdout.readline() if selector.select(seconds) else None


@contextmanager
def working_folder() -> Iterator[tuple[Path, dict[str, dict[str, bytes]], Worker]]:
    """Provide a folder for damaged files, the contents of the samples, and a worker that has read them all."""
    with tempfile.TemporaryDirectory() as name:
        samples = Path(name, "samples")
        samples.mkdir()
        contents = write_samples(samples)
        worker = Worker(samples)
        try:
            yield Path(name), contents, worker
        finally:
            worker.stop()


def write_case(number: int, contents: dict[str, dict[str, bytes]], path: Path) -> str:
    """Write the damaged image of a case to `path`, which is replaced; return the name of its sample."""
    rng = random.Random(number)
    names = sorted(contents)
    name = names[number % len(names)]
    files = dict(contents[name])
    damaged = rng.choice(sorted(files))
    metadata = [file for file in sorted(files) if files[file][:1] == b"{"]
    if metadata and rng.random() < 0.6:
        damaged = rng.choice(metadata)
    others = [next(iter(contents[rng.choice(names)].values())), rng.choice(list(files.values()))]
    files[damaged] = mutate(files[damaged], rng, others)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for file, data in files.items():
        target = path / file if file else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return name


def run(numbers: Iterable[int], keep: Path | None = None) -> Figures:
    """Run cases. Files that broke a promise are copied to `keep`."""
    figures = Figures()
    with working_folder() as (folder, contents, worker):
        path = folder / "image"
        for number in numbers:
            name = write_case(number, contents, path)
            if not figures.add(number, name, worker.judge(path)) and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                copy = keep / f"{number}-{name}"
                shutil.copytree(path, copy, dirs_exist_ok=True) if path.is_dir() else shutil.copy(path, copy)
    return figures


def main() -> None:
    """Run a campaign and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, nargs="*", help="these cases alone")
    parser.add_argument("--keep", type=Path, help="folder for the files that broke a promise")
    options = parser.parse_args()
    figures = run(options.only or range(options.first, options.first + options.cases), options.keep)
    print(json.dumps(figures.as_dict(), indent=2))
    sys.exit(bool(figures.failures))


if __name__ == "__main__":
    main()
