"""Chooses the execution of a pass over an image within a memory limit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from fitcli.device.runtime import Precision, Runtime
from fitcli.errors import FitError, ImageError
from fitcli.images.base import ImageReader
from fitcli.images.reader_memory import reader_bytes
from fitcli.memory.budget import MemoryPlan, Work, plan_memory
from fitcli.memory.machine import default_budget, free_bytes, host_budget
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.encoding.sample_pass import ENCODING
from models.encoder import FITClassifier


def encoding_work(
    checkpoint: Checkpoint[FITClassifier],
    image: ImageReader,
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
        groups: Number of groups to encode.
        precision: Precision of matrix products.
        keep_reads: Whether the attention weights of the last `read` are kept.
        finish_bytes: Memory for the work that follows the pass.
        keep_state: Whether the state of the pass is kept on disk.
    """
    config = checkpoint.model.config
    return Work(
        task=ENCODING,
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


def plan_encoding(
    path: Path, work: Work, runtime: Runtime, memory_bytes: int | None, state: FolderJournal | None
) -> MemoryPlan:
    """Return the plan of the pass that is continued, or a new one.

    Args:
        path: Path of the image, for messages.
        work: Work of the pass.
        runtime: Device and precision.
        memory_bytes: Memory limit; None for a share of the free memory.
        state: Journal of the pass, which keeps the plan; None to keep no state.

    Raises:
        ImageError: The memory limit is too low for this image.
    """
    if state is not None and state.plan is not None:
        return MemoryPlan(**state.plan)
    try:
        if memory_bytes is not None:
            plan = plan_memory(work, runtime.device.type, memory_bytes, host_budget(runtime))
        else:
            plan = _default_plan(work, runtime)
    except FitError as error:
        # An error of this image alone: smaller images may fit.
        raise ImageError(path, str(error)) from None
    if state is not None:
        state.save_plan(dataclasses.asdict(plan))
    return plan


def _default_plan(work: Work, runtime: Runtime) -> MemoryPlan:
    """Plan within a share of the free memory, or within all of it if the share is too small: nobody set a limit."""
    try:
        return plan_memory(work, runtime.device.type, default_budget(runtime), host_budget(runtime))
    except FitError:
        return plan_memory(work, runtime.device.type, free_bytes(runtime), host_budget(runtime))
