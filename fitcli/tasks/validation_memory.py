"""Computes the memory that the validation of an encoder may take on whole images."""

from __future__ import annotations

from fitcli.images.chunk_cache import LARGEST_BYTES
from fitcli.memory.estimate import FIRST_STEP, OVERHEAD, parameter_count
from fitcli.tasks.context import TrainingRun

READING_BYTES = 2 * LARGEST_BYTES
"""Least memory for the decoded chunks and latents of a validation image."""


def validation_bytes(run: TrainingRun) -> int | None:
    """Return the memory for validation: that of the run without its optimizer; None for a share of what is free.

    On a CUDA device free memory ends at the limit of the run, and the optimizer is there already.

    It has a lower bound for images with large chunks, which take more memory to read than a step: no validation image
    should stop a run whose steps fit.
    """
    if run.memory_bytes is None or run.runtime.device.type == "cuda":
        return None
    weights = 4 * parameter_count(run.config.model)
    overhead = OVERHEAD[run.runtime.device.type]
    least = overhead + 2 * weights + READING_BYTES
    # A training loads more libraries than the plan of a pass counts.
    loaded = 0 if run.work is None else run.work.loaded_bytes + FIRST_STEP[run.runtime.precision] - overhead
    # AdamW keeps two moments. Gradients are freed before validation; the plan of a pass counts the weights itself.
    return max(least, run.memory_bytes - (2 + bool(run.settings.ema_decay)) * weights - loaded)
