"""Describes a training run to its task."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fitcli.data.bad_images import BadImages
from fitcli.data.batch import Batch
from fitcli.data.dataset import Dataset
from fitcli.data.loader import AHEAD_BYTES, Loader, images_ahead, reader_threads
from fitcli.data.place import BackgroundRule, PlaceRules
from fitcli.data.read_item import Reading
from fitcli.device.runtime import Runtime
from fitcli.distributed.latent_exchange import Exchange
from fitcli.distributed.world import ALONE, World
from fitcli.execution.plan import ExecutionPlan
from fitcli.files.wording import counted
from fitcli.memory.estimate import Training
from fitcli.memory.plan import evaluate_plan
from fitcli.runs.augmentations import augmentations_of
from fitcli.runs.config import RunConfig
from fitcli.runs.train_settings import TrainSettings
from models.build import build

AHEAD_PART = 16
"""On a CPU, pixels that are read ahead take at most one part in this many of `--memory`, or a batch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """A training run: settings, data, device and the execution of its steps.

    Attributes:
        folder: Run folder.
        config: Task, model, preprocessing and classes.
        settings: Settings of the training.
        dataset: The data set.
        runtime: Device and precision.
        plan: Execution of each step.
        work: The largest step; None if its memory was not estimated.
        memory_bytes: Memory limit where the steps are computed; None for a share of the free memory.
        bad_images: Counter of unusable images.
        understood: Lines on how the data set was understood.
        warnings: Possible faults of the data set, one line each.
        changed: Differences between the data set and that of the run so far, as text; empty for none.
        world: The processes that share the work.
        shard: Whether the processes also share the weights.
        deadline: Time at which this process has to stop, on the clock of `time.monotonic`.
        workers: Number of images that this process reads at once; None for what its cores allow.
        report: Whether to write a page of the run while it trains.
    """

    folder: Path
    config: RunConfig
    settings: TrainSettings
    dataset: Dataset
    runtime: Runtime
    plan: ExecutionPlan = field(default_factory=ExecutionPlan)
    work: Training | None = None
    memory_bytes: int | None = None
    bad_images: BadImages = field(default_factory=BadImages)
    understood: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changed: str = ""
    world: World = ALONE
    shard: bool = False
    deadline: float = math.inf
    workers: int | None = None
    report: bool = True

    @property
    def reader_threads(self) -> int:
        """Number of images that this process reads at once."""
        return reader_threads(self.world.local_size) if self.workers is None else self.workers

    def images_ahead(self, work: Training) -> int:
        """Return how many images are read while a batch as large as that of `work` is computed."""
        most = AHEAD_BYTES
        if self.memory_bytes is not None and self.runtime.device.type == "cpu":
            most = min(most, self.memory_bytes // AHEAD_PART)
        return images_ahead(work.images, self.reader_threads, max(1, work.pixel_bytes // work.images), most)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.settings.total_steps(len(self.dataset.train))

    def introduction(self) -> tuple[str, ...]:
        """Return lines that describe the run, its defaults and data set, and its memory if that is limited."""
        bounded = self.work is not None and (self.memory_bytes is not None or self.plan.kind != "plain")
        memory = (self.memory(),) if bounded else ()
        return *filter(None, (self.summary(), self.settings.defaults_text())), *self.understood, *memory

    def summary(self) -> str:
        """Return one line that describes model, data and device."""
        parameters = sum(p.numel() for p in build(self.config.model, "meta").parameters())
        counts = [len(target.classes) for target in self.config.targets if target.classes]
        classes = " + ".join(map(str, counts)) or len(self.config.classes)
        shared = f", shared by {self.world.size} processes" if self.world.size > 1 else ""
        return (
            f"{self.settings.preset}: {parameters / 1e6:.1f} M parameters, {classes or 'no'} classes, "
            f"{counted(len(self.dataset.train), 'image')} to train on, {len(self.dataset.validation)} to validate, "
            f"{counted(self.total_steps, 'step')} on {self.runtime.device} in {self.runtime.arithmetic}{shared}"
        )

    def batches(self, reading: Reading, step: int) -> Generator[Batch]:
        """Return the part of the training batches that this process reads, from an optimizer step on."""
        loader = Loader(
            self.dataset.train,
            reading,
            self.settings.batch_size,
            self.reader_threads,
            ahead=None if self.work is None else self.images_ahead(self.work),
            bad_images=self.bad_images,
            share=self.world.data,
            group_share=self.world.groups,
            gather=Exchange(self.world.groups.group) if self.world.groups.size > 1 else None,
            device=self.runtime.device,
        )
        passes = self.settings.accumulate
        return loader.batches(step * passes, self.total_steps * passes)

    def bring(self, batch: Batch) -> Batch:
        """Copy a batch to the device. A streamed step copies its pixels later, a handful at a time."""
        return batch.to(self.runtime.device, pixels=self.brings_pixels)

    @property
    def brings_pixels(self) -> bool:
        """Whether all pixels of a batch are on the device during a step."""
        return self.plan.kind != "stream"

    def memory(self) -> str:
        """Return one line on the execution of the steps and the memory of the largest step."""
        assert self.work is not None
        return f"memory: {evaluate_plan(self.work, self.plan).summary()}"


def place_rules(run: TrainingRun, background: float | None = None, **rules: Any) -> PlaceRules:
    """Return the rules for drawing places: those that all tasks share, and `rules` of the task.

    Args:
        run: The run.
        background: Threshold of background; None to keep all groups.
        rules: Other fields of `PlaceRules`.
    """
    settings, left_out = run.settings, None
    if background is not None:
        left_out = BackgroundRule(background, run.config.preprocessing)
    return PlaceRules(
        seed=settings.seed,
        size=settings.size,
        augment=bool(settings.augment),
        augmentations=augmentations_of(settings.augment),
        recolor=not run.config.preprocessing.features,
        background=left_out,
        **rules,
    )
