"""Shows the progress of training: a small table on a terminal, otherwise lines in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from fitcli import console
from fitcli.training.reports import (
    BadImageReport,
    BeginReport,
    DamageReport,
    EventsReport,
    MemoryReport,
    PageReport,
    Report,
    StepReport,
    StopReport,
    ValidatingReport,
    ValidationReport,
)

SMOOTHING = 0.9
"""Decay per step of the moving averages that are shown for loss and rates."""

QUIET_SECONDS = 300
"""Longest time between two lines in a log, unless a single step takes longer."""


class ProgressView:
    """Shows the reports of a run.

    Args:
        region: Region of the terminal to draw in; None if stderr is no terminal.
        start: Number of steps done before.
        total: Number of steps of the run.
    """

    def __init__(self, region: Live | None, start: int, total: int) -> None:
        self._region, self._start, self._total = region, start, total
        self._began = self._logged = time.monotonic()
        self._smooth: dict[str, float] = {}
        self._step: StepReport | None = None
        self._validation: ValidationReport | None = None
        self._best: ValidationReport | None = None
        self._stopping, self._validating, self._bad_images = False, 0, 0
        self._show()

    def __call__(self, report: Report) -> None:
        """Show a report."""
        if isinstance(report, ValidatingReport | ValidationReport):
            self._validating = report.images if isinstance(report, ValidatingReport) else 0
        if isinstance(report, StepReport):
            self._step = report
            for name in ("loss", "images_per_second", "patches_per_second", "data_wait"):
                value: float = getattr(report, name)
                self._smooth[name] = SMOOTHING * self._smooth.get(name, value) + (1 - SMOOTHING) * value
            if self._region is None and time.monotonic() - self._logged >= QUIET_SECONDS:
                self._log(report.step)
        elif isinstance(report, BeginReport):
            for line in report.lines:
                console.log(line)
        elif isinstance(report, StopReport):
            self._stopping = True
        elif isinstance(report, BadImageReport):
            self._bad_images += 1
            console.warning(f"{report.reason}; left out ({self._bad_images} so far)")
        elif isinstance(report, DamageReport):
            self._start = report.step
            console.warning(report.reason)
        elif isinstance(report, MemoryReport):
            console.warning(f"out of memory; continuing with {report.text}")
        elif isinstance(report, EventsReport):
            console.warning(
                f"{report.reason}; continuing without events for TensorBoard; metrics.jsonl has the same numbers"
            )
        elif isinstance(report, PageReport):
            console.warning(f"{report.reason}; continuing without it; metrics.jsonl has its numbers")
        elif isinstance(report, ValidationReport):
            self._validation = report
            self._best = report if report.best else self._best
            if self._region is None:
                self._log(
                    report.step, f"validation {' '.join(report.headline)}{', the best so far' if report.best else ''}, "
                )
        self._show()

    def _log(self, step: int, validation: str = "") -> None:
        loss = f"loss {self._smooth['loss']:.3f}, " if self._smooth else ""
        console.log(f"step {step} of {self._total}: {loss}{validation}{self._left(step)} left")
        self._logged = time.monotonic()

    def _show(self) -> None:
        if self._region is not None:
            self._region.update(self._table())

    def _left(self, step: int) -> str:
        """Return the estimated time left, as H:MM:SS."""
        done = max(1, step - self._start)
        seconds = round((time.monotonic() - self._began) / done * (self._total - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def _table(self) -> Table:
        shown = Table(box=None, show_header=False, pad_edge=False)
        rows = {"step": f"{self._start} of {self._total}"} if self._step is None else self._rows(self._step)
        if self._validating:
            rows["validating on"] = f"{self._validating} images"
        if self._stopping:
            rows["stopping"] = "after this step"
        for name, value in rows.items():
            shown.add_row(f"[dim]{name}[/]", value)
        return shown

    def _rows(self, step: StepReport) -> dict[str, str]:
        name, score = "score", "after the first epoch"
        if self._validation is not None:
            best = f"  (best {self._best.headline[1]}, step {self._best.step})" if self._best else ""
            name, score = self._validation.headline[0], f"{self._validation.headline[1]}{best}"
        return {
            "step": f"{step.step} of {self._total}  (epoch {step.epoch:.1f})",
            "loss": f"{self._smooth['loss']:.4f}",
            f"validation {name}": score,
            "learning rate": f"{step.learning_rate:.2e}",
            "images/s": f"{self._smooth['images_per_second']:.2f}",
            "patches/s": f"{self._smooth['patches_per_second']:,.0f}",
            "waiting for data": f"{self._smooth['data_wait']:.1%}",
            "peak memory": f"{step.peak_bytes / 2**30:.2f} GiB",
            "time left": self._left(step.step),
        }


@contextmanager
def show_progress(start: int, total: int) -> Iterator[ProgressView]:
    """Open a view for the duration of the context."""
    with console.live() as region:
        yield ProgressView(region, start, total)
