"""From a number of bytes to where the canvases and tokens of a generation rest. Arithmetic only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.memory.budget import MemoryPlan, Work, plan_memory
from fitcli.memory.machine import default_budget, free_bytes, host_budget
from fitcli.streaming.token_store import StoreKind
from models.config import DenoiserConfig

COARSER_SHARE = 4
"""A coarser stage has a quarter of the patches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationPlan:
    """How a generation is run within a budget.

    Attributes:
        passes: Of each prediction.
        canvas: Where patches rest between steps.
    """

    passes: MemoryPlan
    canvas: StoreKind

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.passes.as_dict(), "canvas": self.canvas}

    def summary(self) -> str:
        """One line for a person."""
        where = {"device": "on the device", "host": "in memory", "disk": "on disk"}[self.canvas]
        return f"{self.passes.summary()}, canvas {where}"

    def for_state(self) -> dict[str, Any]:
        """To be kept with the state of a job."""
        return dataclasses.asdict(self)

    @classmethod
    def from_state(cls, kept: dict[str, Any]) -> GenerationPlan:
        """What `for_state` gave."""
        return cls(passes=MemoryPlan(**kept["passes"]), canvas=kept["canvas"])


def plan_generation(
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
    """Choose the fastest way that stays within a budget.

    Args:
        config: Of the model.
        weights_bytes: Of the model.
        groups: Of the largest stage.
        canvases: Number of canvases of that size.
        coarser: There is a coarser stage, whose result rests while the next one begins.
        runtime: Where it computes.
        memory_bytes: May be used there; None for a share of what is free.
        reader_bytes: Of what is kept of an image that it begins with.
        finish_bytes: For writing the image, when the passes are done.
        on_disk: Canvases have to outlast this process.

    Raises:
        FitError: Even one group at a time takes more; says how much.
    """
    patches = groups * config.tokens
    canvas_bytes = 4 * config.values * canvases * (patches + (patches // COARSER_SHARE if coarser else 0))
    work = Work(
        config=config,
        groups=groups,
        weights_bytes=weights_bytes,
        value_bytes=4,
        values=config.values,
        reader_bytes=reader_bytes,
        finish_bytes=finish_bytes,
        output_values=config.out_values,
    )
    budget = default_budget(runtime) if memory_bytes is None else memory_bytes
    try:
        return _within(work, canvas_bytes, budget, runtime, on_disk)
    except FitError:
        if memory_bytes is not None:
            raise
        # Nobody having asked for a polite share, within all that is free.
        return _within(work, canvas_bytes, free_bytes(runtime), runtime, on_disk)


def _within(work: Work, canvas_bytes: int, budget: int, runtime: Runtime, on_disk: bool) -> GenerationPlan:
    device, host = runtime.device.type, host_budget(runtime)
    fastest: StoreKind = "host" if device == "cpu" else "device"
    for canvas in _places(device, canvas_bytes, host, on_disk):
        here = dataclasses.replace(work, canvas_bytes=canvas_bytes if canvas == fastest else 0)
        rest = host - canvas_bytes if host is not None and canvas == "host" else host
        try:
            passes = plan_memory(here, device, budget, rest)
        except FitError:
            if canvas == "disk":
                raise
            continue
        # A pass goes through the tokens more often than through the canvas.
        if passes.store == fastest or canvas == "disk":
            return GenerationPlan(passes=passes, canvas=canvas)
    raise AssertionError("a canvas on disk is always tried")


def _places(device: str, canvas_bytes: int, host_bytes: int | None, on_disk: bool) -> Iterator[StoreKind]:
    """Where canvases could rest, fastest first."""
    if not on_disk:
        if device != "cpu":
            yield "device"
        if host_bytes is None or canvas_bytes <= host_bytes:
            yield "host"
    yield "disk"
