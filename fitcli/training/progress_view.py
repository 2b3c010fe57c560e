"""A training run as a person watches it: a small table that is redrawn, or a line per validation without a terminal."""

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
    Report,
    StepReport,
    StopReport,
    ValidatingReport,
    ValidationReport,
)

SMOOTHING = 0.9
"""Of the shown loss and rates, per step."""

QUIET_SECONDS = 300
"""Without a terminal there is a line at least this often, as long as a step does not take longer."""


class TrainingView:
    """Shows reports.

    Args:
        region: Where to draw; None where stderr is no terminal.
        start, total: Steps done before, and in the end.
    """

    def __init__(self, region: Live | None, start: int, total: int) -> None:
        self._region, self._start, self._total = region, start, total
        self._began = self._said = time.monotonic()
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
            if self._region is None and time.monotonic() - self._said >= QUIET_SECONDS:
                self._say(report.step)
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
            console.warning(f"out of memory; going on with {report.text}")
        elif isinstance(report, EventsReport):
            console.warning(f"{report.reason}; going on without events for TensorBoard, metrics.jsonl has all of them")
        elif isinstance(report, ValidationReport):
            self._validation = report
            self._best = report if report.best else self._best
            if self._region is None:
                self._say(
                    report.step, f"validation {' '.join(report.headline)}{', the best so far' if report.best else ''}, "
                )
        self._show()

    def _say(self, step: int, found: str = "") -> None:
        loss = f"loss {self._smooth['loss']:.3f}, " if self._smooth else ""
        console.log(f"step {step} of {self._total}: {loss}{found}{self._left(step)} left")
        self._said = time.monotonic()

    def _show(self) -> None:
        if self._region is not None:
            self._region.update(self._table())

    def _left(self, step: int) -> str:
        done = max(1, step - self._start)
        seconds = round((time.monotonic() - self._began) / done * (self._total - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def _table(self) -> Table:
        shown = Table(box=None, show_header=False, pad_edge=False)
        rows = {"step": f"{self._start} of {self._total}"} if self._step is None else self._rows(self._step)
        if self._validating:
            rows["looking at"] = f"{self._validating} validation images"
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
def training_view(start: int, total: int) -> Iterator[TrainingView]:
    """A view that is there while the context lasts."""
    with console.live() as region:
        yield TrainingView(region, start, total)
