"""Describes a run folder to a person: its task, model, pixels, classes and best scores."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from fitcli.errors import CheckpointError
from fitcli.runs.config import RunConfig
from fitcli.tasks.load import load_config
from fitcli.tasks.registry import find_task
from fitcli.training.checkpointing.run_record import load_settings
from models.build import build

METRICS = "metrics.jsonl"

LONGEST_LINE, MOST_LINES = 1 << 20, 10**7
"""Limits of the file of metrics: bytes of a line, and number of lines."""


def describe_run(folder: Path) -> dict[str, Any]:
    """Return the properties of a run, as `fit info --json` prints them.

    Raises:
        CheckpointError: The folder does not hold a run of this version of fit.
    """
    config = load_config(folder)
    model, pixels = config.model, config.preprocessing
    return {
        "path": str(folder),
        "task": config.task,
        "preset": _preset(folder),
        "parameters": sum(parameter.numel() for parameter in build(model, "meta").parameters()),
        "plan": model.plan,
        "latents_per_group": model.latents,
        "attention_start": model.attention_start,
        "group_pixels": find_task(config.task).group_pixels(config),
        "channels": pixels.channels,
        "dtype": pixels.dtype,
        "mpp": pixels.mpp,
        "background": pixels.background,
        **({} if pixels.trained_patch is None else {"trained_patch": str(pixels.trained_patch)}),
        "classes": _classes(config),
        **config.details.to_document(),
        "best": best_report(folder),
    }


def _preset(folder: Path) -> str | None:
    """Return the name of the preset; None for a run folder without its training, such as `last/`."""
    try:
        return load_settings(folder).preset
    except CheckpointError:
        return None


def _classes(config: RunConfig) -> list[str] | dict[str, list[str]]:
    if config.targets:
        return {target.name: list(target.classes) for target in config.targets}
    return list(config.classes)


def best_report(folder: Path) -> dict[str, Any] | None:
    """Return the report of the best validation; None if there is none that can be read."""
    best = None
    try:
        with (folder / METRICS).open("rb") as file:
            lines = iter(lambda: file.readline(LONGEST_LINE), b"")
            for line in islice(lines, MOST_LINES):
                if b'"best": true' in line:
                    best = line
        return None if best is None else {k: v for k, v in json.loads(best).items() if k not in ("kind", "best")}
    except (OSError, ValueError, AttributeError):
        return None
