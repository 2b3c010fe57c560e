"""The reports of a training run: values that describe what happens, for the log and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """An optimizer step is done.

    Attributes:
        step: Number of the step, counted from 1.
        epoch: Passes over the training images so far, a fraction included.
        loss: Mean loss of the images of this step, with the weights before the step.
        scores: Other scores of the task for these images, by name.
        learning_rate: Learning rate of this step.
        gradient_norm: Norm of the gradient before clipping.
        images_per_second: Images of this step divided by its duration in seconds, waiting included.
        patches_per_second: Patches without padding, divided by the same duration.
        data_wait: Fraction of the duration spent waiting for images.
        peak_bytes: Highest memory so far: allocated on CUDA, resident in the process on a CPU.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    patches_per_second: float
    data_wait: float
    peak_bytes: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class BeginReport:
    """The run begins or continues; all checks have passed.

    Attributes:
        lines: Description of the run for a person.
    """

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValidatingReport:
    """A validation begins, which may take as long as many steps.

    Attributes:
        images: Number of validation images.
    """

    images: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationReport:
    """A validation is done.

    Attributes:
        step: Number of steps done before it.
        loss: Mean loss over the images.
        scores: Other scores of the task, by name.
        best: Whether no earlier validation was better.
        headline: Name and value of the most important score, as text.
    """

    step: int
    loss: float
    scores: Mapping[str, float]
    best: bool
    headline: tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class BadImageReport:
    """An image is unusable and left out.

    Attributes:
        step: Number of the step that met it first.
        path: File of the image.
        reason: Why it is unusable, in one line.
    """

    step: int
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class StopReport:
    """A user or a scheduler asked the run to stop: it ends after the current step."""


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Memory ran out, and the run continues with a smaller execution.

    Attributes:
        text: Description of the new execution.
    """

    text: str


@dataclass(frozen=True, slots=True)
class DamageReport:
    """The last saved state is damaged, and the run continues from an earlier one.

    Attributes:
        reason: Description of the damage, in one line.
        step: Step of the state that is used instead.
    """

    reason: str
    step: int


@dataclass(frozen=True, slots=True)
class EventsReport:
    """Events for TensorBoard cannot be written; no more are written from now on.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class PageReport:
    """The page of the run cannot be written; no more are written from now on.

    Attributes:
        reason: Why, in one line.
    """

    reason: str


Report = (
    BeginReport
    | StepReport
    | ValidatingReport
    | ValidationReport
    | BadImageReport
    | StopReport
    | MemoryReport
    | DamageReport
    | EventsReport
    | PageReport
)
