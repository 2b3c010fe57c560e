"""Logs the reports of a training run to `metrics.jsonl` and to TensorBoard event files."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fitcli.data.bad_images import BadImage
from fitcli.errors import DataError, FitError
from fitcli.files.publish import write_text
from fitcli.training.checkpointing.saver import saving
from fitcli.training.reports import BadImageReport, EventsReport, StepReport, ValidationReport
from fitcli.training.tensorboard_events import EventFile


class MetricsLog:
    """Appends reports to `metrics.jsonl` and to the TensorBoard event files of a run folder.

    Args:
        run: Run folder.
        step: Number of steps done so far. Entries about later steps, from a process that died, are dropped.
        validated: Number of steps done at the last validation that counts; entries about later validations are dropped.
            None to keep all up to `step`.
        report: Called when events for TensorBoard are lost. `metrics.jsonl` still has the same numbers.

    Attributes:
        bad_images: Unusable images that the run reported before it was resumed.
    """

    def __init__(
        self,
        run: Path,
        step: int,
        validated: int | None = None,
        report: Callable[[EventsReport], None] = lambda report: None,
    ) -> None:
        def report_lost(error: OSError) -> None:
            report(EventsReport(f"{events}: cannot be written to ({error.strerror or error})"))

        events = run / "tensorboard"
        self._run, path = run, run / "metrics.jsonl"
        with saving(run):
            kept = _drop_after(path, step, step if validated is None else validated)
            self._lines = path.open("a", encoding="utf-8")
        self._events = EventFile(events, step + 1, report_lost)
        self.bad_images = [
            BadImage(Path(entry["path"]), DataError(entry["reason"])) for entry in kept if entry["kind"] == "bad image"
        ]

    def __call__(self, report: StepReport | ValidationReport | BadImageReport) -> None:
        """Log a report.

        Raises:
            FitError: `metrics.jsonl` cannot be written.
        """
        if isinstance(report, BadImageReport):
            entry = {"kind": "bad image", "step": report.step, "path": str(report.path), "reason": report.reason}
            self._write(entry)
            return
        kind = "train" if isinstance(report, StepReport) else "validation"
        values = {**dataclasses.asdict(report), **report.scores}
        for name in ("scores", "headline"):
            values.pop(name, None)
        self._write({"kind": kind, **values})
        self._events.add(report.step, {f"{kind}/{name}": value for name, value in values.items() if name != "step"})

    def _write(self, entry: dict[str, Any]) -> None:
        with saving(self._run):
            self._lines.write(json.dumps(entry) + "\n")
            self._lines.flush()

    def sync(self) -> None:
        """Wait until what was logged so far would survive a power cut."""
        os.fsync(self._lines.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with saving(self._run):
                self._lines.close()
        except FitError:
            # Do not hide the error that ends the run.
            if error is None:
                raise


class NoLog:
    """Logs nothing: for the processes beside the first, which logs for all."""

    bad_images: tuple[BadImage, ...] = ()

    def __call__(self, report: StepReport | ValidationReport | BadImageReport) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def _drop_after(path: Path, step: int, validated: int) -> list[dict[str, Any]]:
    """Drop entries about later steps and validations, and incomplete lines, from the file; return the other entries."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    parsed = [(line, entry) for line in text.splitlines() if (entry := _entry(line)) is not None]
    entries = [(line, e) for line, e in parsed if e["step"] <= (validated if e["kind"] == "validation" else step)]
    kept = "".join(f"{line}\n" for line, _ in entries)
    if kept != text:
        write_text(path, kept)
    return [entry for _, entry in entries]


def _entry(line: str) -> dict[str, Any] | None:
    """Parse a line; return None if it is incomplete, because a process died while it wrote it."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"kind", "step"} <= entry.keys() else None
