"""What a training run tells of itself, and the files it is told to. Prints nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fitcli.data.bad_images import BadImage
from fitcli.errors import DataError, FitError
from fitcli.files.publish import write_text
from fitcli.training.checkpointing.saver import saving
from fitcli.training.tensorboard_events import EventFile


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """One optimizer step.

    Attributes:
        step: Counted from 1.
        epoch: Passes over the training images so far, with fractions.
        loss: Of the images of this step, before it.
        scores: What else the task tells about them, by name.
        learning_rate, gradient_norm: Of this step; the norm before clipping.
        images_per_second, patches_per_second: Of this step, waiting included; padding is not counted.
        data_wait: Share of the time in which the device waited for images.
        peak_bytes: Highest memory so far: allocated on CUDA, resident in the process on a CPU.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    patches_per_second: float
    data_wait: float
    peak_bytes: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BeginReport:
    """All that a run needs was found: it begins, or goes on. What it is, in lines."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValidatingReport:
    """The validation images are about to be looked at: how many they are. It may take as long as many steps."""

    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationReport:
    """Validation images.

    Attributes:
        step: After which it was done.
        loss: Mean over the images.
        scores: What else the task tells about them, by name.
        best: No earlier validation was better.
        headline: Name and value of the most important score, as text.
    """

    step: int
    loss: float
    scores: Mapping[str, float]
    best: bool
    headline: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadImageReport:
    """An image that cannot be used and is left out.

    Attributes:
        step: In which it was met first.
        path: Of the image.
        reason: One line.
    """

    step: int
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class StopReport:
    """Someone asked to stop: the run ends after the step that it is in."""


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Memory ran out; how the run goes on, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class DamageReport:
    """What was saved last cannot be used: why, in words, and the step that the run goes on from instead."""

    reason: str
    step: int


@dataclass(frozen=True, slots=True)
class EventsReport:
    """Events for TensorBoard cannot be written, for a reason of one line, and are lost from here on."""

    reason: str


Report = (
    BeginReport
    | StepReport
    | ValidatingReport
    | ValidationReport
    | BadImageReport
    | StopReport
    | MemoryReport
    | DamageReport
    | EventsReport
)


class MetricsLog:
    """Appends every report to `metrics.jsonl` and to TensorBoard event files of a run folder.

    Args:
        run: The folder.
        step: Steps done so far; what an earlier process logged beyond them, before it died, is dropped.
        validated: Steps that had been done at the last validation that counts; None where all do.
        tell: Told when events for TensorBoard are lost: they say nothing that `metrics.jsonl` does not.

    Attributes:
        bad_images: That earlier processes told.
    """

    def __init__(
        self,
        run: Path,
        step: int,
        validated: int | None = None,
        tell: Callable[[EventsReport], None] = lambda report: None,
    ) -> None:
        def lost(error: OSError) -> None:
            tell(EventsReport(f"{events}: cannot be written to ({error.strerror or error})"))

        events = run / "tensorboard"
        self._run, path = run, run / "metrics.jsonl"
        with saving(run):
            kept = _drop_after(path, step, step if validated is None else validated)
            self._lines = path.open("a", encoding="utf-8")
        self._events = EventFile(events, step + 1, lost)
        told = [entry for entry in kept if entry["kind"] == "bad image"]
        self.bad_images = [BadImage(Path(entry["path"]), DataError(entry["reason"])) for entry in told]

    def __call__(self, report: StepReport | ValidationReport | BadImageReport) -> None:
        """Log a report.

        Raises:
            FitError: It cannot be written.
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
            # What went wrong before counts more.
            if error is None:
                raise


class NoLog:
    """What a process logs where another one does."""

    bad_images: tuple[BadImage, ...] = ()

    def __call__(self, report: StepReport | ValidationReport | BadImageReport) -> None:
        """Log nothing."""

    def sync(self) -> None:
        """There is nothing to wait for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def _drop_after(path: Path, step: int, validated: int) -> list[dict[str, Any]]:
    """Drop what was logged of later steps and validations, and lines that were cut off; what is left."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    found = [(line, entry) for line in text.splitlines() if (entry := _entry(line)) is not None]
    entries = [(line, e) for line, e in found if e["step"] <= (validated if e["kind"] == "validation" else step)]
    kept = "".join(f"{line}\n" for line, _ in entries)
    if kept != text:
        write_text(path, kept)
    return [entry for _, entry in entries]


def _entry(line: str) -> dict[str, Any] | None:
    """What a line says; None where it was cut off while it was written."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and {"kind", "step"} <= entry.keys() else None
