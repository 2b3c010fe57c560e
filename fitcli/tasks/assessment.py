"""What reports and scores of a model have in common: the model, and how its images are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from fitcli.device.runtime import Runtime
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.encoding.encode import EncodingSettings

M = TypeVar("M", bound=TaskModel)


@dataclass(frozen=True, slots=True)
class Assessment(Generic[M]):
    """Shows a model in reports, or scores it.

    Attributes:
        checkpoint: The model.
        runtime: Device and precision.
        settings: Settings with which images are read.
    """

    checkpoint: Checkpoint[M]
    runtime: Runtime
    settings: EncodingSettings
