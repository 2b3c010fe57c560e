"""Everything that a training run is given."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

from fitcli.data.bad_images import BadImages
from fitcli.data.batch import Batch
from fitcli.data.dataset import Dataset
from fitcli.data.loader import Loader
from fitcli.data.read_item import Layout
from fitcli.device.runtime import Runtime
from fitcli.distributed.latent_exchange import Exchange
from fitcli.distributed.world import ALONE, World
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training
from fitcli.memory.plan import evaluate
from fitcli.runs.config import RunConfig
from fitcli.runs.train_settings import TrainSettings
from models.build import build


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """Everything that a training run is given.

    Attributes:
        folder: Where it is saved.
        config: Task, model, preprocessing and classes.
        settings: How to train.
        dataset: On what.
        runtime: Where.
        plan: How each step is executed.
        work: The largest step; None where nobody asked what it takes.
        memory_bytes: That may be used where it computes; None for a share of what is free.
        bad_images: Those that were met.
        changed: What is different about the data set since the run was trained on it, in words.
        world: The processes that share the work.
        shard: They share the weights out, too.
        deadline: When this process has to stop, as `time.monotonic` counts.
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
    changed: str = ""
    world: World = ALONE
    shard: bool = False
    deadline: float = math.inf

    @property
    def total_steps(self) -> int:
        """Optimizer steps from the beginning to the end."""
        return self.settings.total_steps(len(self.dataset.train))

    def introduction(self) -> tuple[str, ...]:
        """Lines on what will be trained on what, and on how steps are executed where not everything is kept."""
        bounded = self.work is not None and (self.memory_bytes is not None or self.plan.kind != "plain")
        return (self.summary(), self.memory()) if bounded else (self.summary(),)

    def summary(self) -> str:
        """One line on what will be trained on what."""
        parameters = sum(p.numel() for p in build(self.config.model, "meta").parameters())
        classes = " + ".join(str(len(task.classes)) for task in self.config.tasks) or len(self.config.classes)
        shared = f", shared by {self.world.size} processes" if self.world.size > 1 else ""
        return (
            f"{self.settings.preset}: {parameters / 1e6:.1f} M parameters, {classes or 'no'} classes, "
            f"{len(self.dataset.train)} images to train on, {len(self.dataset.validation)} to validate, "
            f"{self.total_steps} steps on {self.runtime.device} in {self.runtime.arithmetic}{shared}"
        )

    def batches(self, layout: Layout, step: int) -> Generator[Batch]:
        """Of each training batch from an optimizer step on, to the end of the run, the part that this process reads."""
        loader = Loader(
            self.dataset.train,
            self.settings,
            self.config.preprocessing,
            layout,
            bad_images=self.bad_images,
            share=self.world.data,
            group_share=self.world.groups,
            gather=Exchange(self.world.groups.group) if self.world.groups.size > 1 else None,
            device=self.runtime.device,
        )
        passes = self.settings.accumulate
        return loader.batches(step * passes, self.total_steps * passes)

    def bring(self, batch: Batch) -> Batch:
        """A batch to where it is computed; the pixels of a streamed step follow a handful at a time."""
        return batch.to(self.runtime.device, pixels=self.brings_pixels)

    @property
    def brings_pixels(self) -> bool:
        """All pixels of a batch are where it is computed."""
        return self.plan.kind != "stream"

    def memory(self) -> str:
        """One line on how steps are executed, and what the largest takes."""
        assert self.work is not None
        return f"memory: {evaluate(self.work, self.plan).summary()}"
