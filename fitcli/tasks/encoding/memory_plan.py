"""Chooses the execution of a pass over an image within a memory limit."""

from __future__ import annotations

import dataclasses

import numpy as np

from fitcli.device.runtime import Precision, Runtime
from fitcli.images.base import ImageReader
from fitcli.images.reader_memory import reader_bytes
from fitcli.memory.budget import MemoryPlan, Work, plan_memory
from fitcli.memory.machine import host_budget, plan_within
from fitcli.memory.samples import SamplePass
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.streaming.journal import FolderJournal
from models.config import EncoderConfig


def encoding_work(
    checkpoint: Checkpoint[TaskModel],
    image: ImageReader,
    passes: SamplePass,
    groups: int,
    precision: Precision,
    keep_reads: bool,
    finish_bytes: int,
    keep_state: bool,
) -> Work:
    """Return the work of encoding some groups of an image.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image.
        passes: The pass over a sample image.
        groups: Number of groups to encode.
        precision: Precision of matrix products.
        keep_reads: Whether the attention weights of the last `read` are kept.
        finish_bytes: Memory for the work that follows the pass.
        keep_state: Whether the state of the pass is kept on disk.
    """
    config = checkpoint.model.config
    assert isinstance(config, EncoderConfig)
    return Work(
        task=passes,
        config=config,
        precision=precision,
        groups=groups,
        weights_bytes=sum(p.numel() * p.element_size() for p in checkpoint.model.parameters()),
        value_bytes=np.dtype(checkpoint.config.preprocessing.dtype).itemsize,
        values=config.values,
        reader_bytes=reader_bytes(image, config.patch * config.group),
        finish_bytes=finish_bytes,
        keep_reads=keep_reads,
        keep_state=keep_state,
    )


def plan_encoding(work: Work, runtime: Runtime, memory_bytes: int | None, state: FolderJournal | None) -> MemoryPlan:
    """Return the plan of the pass that is continued, or a new one.

    Args:
        work: Work of the pass.
        runtime: Device and precision.
        memory_bytes: Memory limit; None for a share of the free memory.
        state: Journal of the pass, which keeps the plan; None to keep no state.

    Raises:
        OutOfMemory: The memory limit is too low for this image; smaller ones may fit.
    """
    if state is not None and state.plan is not None:
        return MemoryPlan(**state.plan)
    device, host = runtime.device.type, host_budget(runtime)
    plan = plan_within(
        runtime, lambda budget: plan_memory(work, device, budget, host), memory_bytes, work.weights_bytes
    )
    if state is not None:
        state.save_plan(dataclasses.asdict(plan))
    return plan
