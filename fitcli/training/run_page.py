"""Writes `report.html` and `curves.png` of a run while it trains: curves, validation images, the data set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.data.description import describe_dataset
from fitcli.errors import FitError
from fitcli.files.publish import publish_file, write_text
from fitcli.files.wording import counted
from fitcli.images.encoded_picture import encode_picture
from fitcli.images.read_as import open_as
from fitcli.memory.estimate import estimate_step
from fitcli.memory.retry import one_line
from fitcli.reports.chart_picture import charts_picture
from fitcli.reports.page import page
from fitcli.reports.parts import Case, ColorKey, DataTable, Facts, Gallery, Lines, Part, Section
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.registry import find_task
from fitcli.tasks.task import Validation
from fitcli.tasks.task_report import TaskReport, ordered
from fitcli.tasks.validation_memory import validation_bytes
from fitcli.training.checkpointing.snapshot import Progress
from fitcli.training.curves import curves, main_curves
from fitcli.training.metrics_history import MetricsHistory
from fitcli.training.reports import PageReport

PAGE, PICTURE = "report.html", "curves.png"
"""Files in the run folder."""

SHARE = 0.02
"""Greatest share of the time that pages take, beside the first and the last one."""

WORST, BEST = 6, 3
"""Most validation images that are shown: those with the worst and the best answers."""

SECONDS = 10.0
"""Time after which no further validation image is drawn for a page, in seconds."""

DRAWING_BYTES = 32 << 20
"""Memory for drawing one validation image and its answer."""

MOST_CLASSES = 200
"""Most classes of the table of images."""


class RunPage:
    """The page of a run. Only the first process writes it, and nothing that fails here ends a run.

    Args:
        run: The run.
        observe: Called once if the page cannot be written; no more are written then.
    """

    def __init__(self, run: TrainingRun, observe: Callable[[PageReport], None]) -> None:
        self._run, self._observe = run, observe
        self._active = run.report and run.world.is_first
        self._history = MetricsHistory(run.folder)
        self._gallery: list[Part] = []
        self._cost, self._written = 0.0, -np.inf

    def look(self, checkpoint: Checkpoint[Any], validation: Validation, last: bool) -> None:
        """Draw validation images with the model that was just validated, if a page is due.

        Args:
            checkpoint: The model.
            validation: Its scores.
            last: Whether the run ends.
        """
        if not self._active or not self._due(last):
            return
        if not self._has_room():
            self._gallery = [Lines(["No images are shown: --memory leaves no room for drawing them."])]
            return
        began = time.monotonic()
        try:
            self._gallery = self._drawn(self._report(checkpoint, validation), validation, began + SECONDS)
        except Exception as error:
            # Hours of training are worth more than a picture.
            self._give_up(f"{type(error).__name__}: {error}")
        self._cost = time.monotonic() - began

    def _has_room(self) -> bool:
        """Return whether images can be drawn within the limit: the estimate of a step does not count it."""
        run = self._run
        if run.work is None or run.memory_bytes is None or run.runtime.device.type == "cuda":
            return True
        return estimate_step(run.work, run.plan).needed_bytes + DRAWING_BYTES <= run.memory_bytes

    def _report(self, checkpoint: Checkpoint[Any], validation: Validation) -> TaskReport:
        run = self._run
        details = checkpoint.config.details.with_decisions(validation.decisions)
        settings = EncodingSettings(memory_bytes=validation_bytes(run), plans={})
        return find_task(run.config.task).report(
            replace(checkpoint, config=replace(checkpoint.config, details=details)), run.runtime, settings
        )

    def write(self, progress: Progress, last: bool) -> None:
        """Write the page, if it is due."""
        if not self._active or not self._due(last):
            return
        began = time.monotonic()
        try:
            self._history.update()
            images = self._run.settings.batch_size * self._run.settings.accumulate
            charts = curves(self._history, images, self._run.config.classes)
            sections = [
                Section("Overview", self._overview(progress)),
                Section("Curves", charts),
                Section("Images", self._gallery),
                Section("Data set", self._data()),
                Section("Options", [self._options()]),
            ]
            about = (self._run.summary(), f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}")
            write_text(self._run.folder / PAGE, page(f"Training: {self._run.folder.resolve().name}", about, sections))
            with publish_file(self._run.folder / PICTURE) as file:
                file.write_bytes(encode_picture(charts_picture(main_curves(charts)), flat=True)[1])
        except OSError as error:
            self._give_up(error.strerror or str(error))
        except Exception as error:
            self._give_up(f"{type(error).__name__}: {error}")
        self._written = time.monotonic()
        self._cost += self._written - began

    def _give_up(self, reason: str) -> None:
        self._active = False
        self._observe(PageReport(f"{self._run.folder / PAGE}: cannot be written ({reason})"))

    def _due(self, last: bool) -> bool:
        return last or time.monotonic() - self._written >= self._cost / SHARE

    def _drawn(self, report: TaskReport, validation: Validation, until: float) -> list[Part]:
        samples, order = self._run.dataset.validation, ordered(validation.badness)
        parts: list[Part] = []
        worst, best = order[:WORST], order[max(WORST, len(order) - BEST) :][::-1]
        for caption, numbers in (("Worst answers", worst), ("Best answers", best)):
            cases = [self._case(report, samples[number]) for number in numbers if time.monotonic() < until]
            if cases:
                parts.append(Gallery(f"{caption}, of {counted(len(order), 'image')}", cases))
        if colors := report.colors() if parts else []:
            parts.insert(0, ColorKey(colors))
        pictures = []
        try:
            with one_line():
                for picture in report.samples() if time.monotonic() < until else ():
                    pictures.append(picture)
                    if time.monotonic() > until:
                        break
        except FitError as error:
            parts.append(Lines([f"No images are generated: {error}"]))
        return [*parts, Gallery("Generated images", [Case("", "", pictures)])] if pictures else parts

    def _case(self, report: TaskReport, sample: Sample) -> Case:
        try:
            with one_line(), open_as(sample.path, self._run.config.preprocessing.read_as) as image:
                case = report.case(image, sample)
        except FitError as error:
            return Case(str(sample.path), f"cannot be shown: {error}", ())
        return replace(case, title=sample.key or case.title)

    def _overview(self, progress: Progress) -> list[Part]:
        run, history = self._run, self._history
        items = [("steps", f"{progress.step:,} of {run.total_steps:,}")]
        if progress.best:
            items.append(
                (f"best validation {progress.headline[0]}", f"{progress.headline[1]} (step {progress.best_step:,})")
            )
        if len(losses := history.validations("loss")):
            items.append(("last validation loss", f"{losses[-1][1]:.4g} (step {losses[-1][0]:,.0f})"))
        if len(rates := history.steps("images_per_second")):
            items.append(("images per second", f"{np.median(rates[:, 1]):.3g} (median of the steps)"))
        if len(peaks := history.steps("peak_bytes")):
            items.append(("peak memory", f"{peaks[:, 1].max() / 2**30:.2f} GiB"))
        return [Facts(items)]

    def _data(self) -> list[Part]:
        """Return the data set as it was understood, and what was left out."""
        dataset, preprocessing = self._run.dataset, self._run.config.preprocessing
        lines = list(self._run.understood or describe_dataset(dataset))
        if sides := preprocessing.trained_sides:
            lines.append(f"sides of what a step sees: {sides[0]:,} to {sides[1]:,} pixels")
        if scales := preprocessing.trained_scales:
            lines.append(f"scale: {scales[0]:g} to {scales[1]:g} microns per pixel")
        parts: list[Part] = [Lines(lines)]
        if warnings := [*self._run.warnings, *([self._run.changed] if self._run.changed else [])]:
            parts.append(Lines(warnings, warns=True))
        splits = (dataset.train, dataset.validation, dataset.test)
        rows = [("all images", *(str(len(samples)) for samples in splits))]
        if dataset.classes and not dataset.targets and all(isinstance(each.target, int) for each in dataset.train):
            rows += [
                (name, *(str(sum(sample.target == number for sample in samples)) for samples in splits))
                for number, name in enumerate(dataset.classes[:MOST_CLASSES])
            ]
        parts.append(DataTable("Images", ("class", "training", "validation", "test"), rows))
        bad = [f"{path}: {reason}" for path, reason in self._history.bad_images.items()]
        parts.append(Lines([f"left out: {text}" for text in bad], warns=True))
        return parts

    def _options(self) -> DataTable:
        rows = [
            (f"--{name.replace('_', '-')}", str(value)) for name, value in self._run.settings.as_dict().items()
            if value is not None and value != [] and value != {}
        ]  # fmt: skip
        return DataTable("Options of the run, with those of its preset", ("option", "value"), rows)
