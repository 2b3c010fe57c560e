"""Chooses where the canvases and tokens of a generation are stored within a memory limit. Arithmetic only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.memory.budget import MemoryPlan, Work, plan_memory
from fitcli.memory.machine import host_budget, plan_within
from fitcli.memory.samples import SamplePass
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.config import image_values
from models.config import DenoiserConfig

COARSER_SHARE = 4
"""Ratio of the number of patches of a stage to that of the coarser stage before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationPlan:
    """The execution of a generation within a memory limit.

    Attributes:
        passes: Execution of each prediction.
        canvas: Kind of the stores of the canvases.
    """

    passes: MemoryPlan
    canvas: StoreKind

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        return {**self.passes.as_dict(), "canvas": self.canvas}

    def summary(self) -> str:
        """Return the plan as one line for a person."""
        where = {"device": "on the device", "host": "in memory", "disk": "on disk"}[self.canvas]
        return f"{self.passes.summary()}, canvas {where}"

    def with_handful(self, groups: int) -> GenerationPlan:
        """Return the plan with another handful."""
        return dataclasses.replace(self, passes=dataclasses.replace(self.passes, handful=groups))

    def for_state(self) -> dict[str, Any]:
        """Return the plan as JSON data for the state of a job."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, saved: dict[str, Any]) -> GenerationPlan:
        """Rebuild a plan from the result of `for_state`."""
        return cls(passes=MemoryPlan(**saved["passes"]), canvas=saved["canvas"])


def plan_generation(
    task: SamplePass,
    config: DenoiserConfig,
    weights_bytes: int,
    groups: int,
    canvases: int,
    coarser: bool,
    runtime: Runtime,
    memory_bytes: int | None,
    reader_bytes: int,
    finish_bytes: int,
    on_disk: bool,
) -> GenerationPlan:
    """Choose the fastest execution within a memory limit.

    Args:
        task: The task of the model.
        config: Architecture of the model.
        weights_bytes: Memory of the weights.
        groups: Number of groups of the largest stage.
        canvases: Number of canvases of the largest stage.
        coarser: Whether there is a coarser stage, whose result is kept until the next one has started from it, or a
            smaller version of the image.
        runtime: Device and precision.
        memory_bytes: Memory limit on the device; None for a share of the free memory.
        reader_bytes: Memory of the reader of an initial image.
        finish_bytes: Memory for writing the image after the last pass.
        on_disk: Whether canvases have to outlast this process.

    Raises:
        FitError: Even one group at a time takes more than the limit. The message says how much.
    """
    patches = groups * config.tokens
    canvas_bytes = 4 * image_values(config) * canvases * (patches + (patches // COARSER_SHARE if coarser else 0))
    work = Work(
        task=task,
        config=config,
        precision=runtime.precision,
        groups=groups,
        weights_bytes=weights_bytes,
        value_bytes=4,
        values=config.values,
        reader_bytes=reader_bytes,
        finish_bytes=finish_bytes,
        output_values=config.out_values,
    )
    return plan_within(
        runtime, lambda budget: _within(work, canvas_bytes, budget, runtime, on_disk), memory_bytes, weights_bytes
    )


def _within(work: Work, canvas_bytes: int, budget: int, runtime: Runtime, on_disk: bool) -> GenerationPlan:
    device, host = runtime.device.type, host_budget(runtime)
    fastest: StoreKind = "host" if device == "cpu" else "device"
    for canvas in _canvas_stores(device, canvas_bytes, host, on_disk):
        on_device = dataclasses.replace(work, canvas_bytes=canvas_bytes if canvas == fastest else 0)
        host_rest = host - canvas_bytes if host is not None and canvas == "host" else host
        try:
            passes = plan_memory(on_device, device, budget, host_rest)
        except FitError:
            if canvas == "disk":
                raise
            continue
        # Fast memory goes to the tokens first: a pass reads them more often than the canvas.
        if passes.store == fastest or canvas == "disk":
            return GenerationPlan(passes=passes, canvas=canvas)
    raise AssertionError("a canvas on disk is always tried")


def _canvas_stores(device: str, canvas_bytes: int, host_bytes: int | None, on_disk: bool) -> Iterator[StoreKind]:
    """Yield the kinds of store that could hold the canvases, the fastest first."""
    if not on_disk:
        if device != "cpu":
            yield "device"
        if host_bytes is None or canvas_bytes <= host_bytes:
            yield "host"
    yield "disk"
