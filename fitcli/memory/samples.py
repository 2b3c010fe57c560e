"""Steps and passes over sample images, which tasks offer so that they can be estimated or measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.streaming.sweeps import Streaming
from models.groups import Groups


class StepInput(NamedTuple):
    """The input of one group of a training step.

    Attributes:
        shape: Shape without the axis of groups: patches [n p], or levels [n] of a decoder.
        dtype: Type of the values.
        values: Number of different values, which are 0 ... `values - 1`.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    values: int


class SampleImage(NamedTuple):
    """The image of a sample pass.

    Attributes:
        groups: All groups.
        inputs: Input of all groups, in host memory.
        device: Device of the model.
        keep_reads: Whether a streamed pass of an encoder returns the weights of the last `read`.
    """

    groups: Groups
    inputs: Tensor
    device: torch.device
    keep_reads: bool = False


class SampleInput(Protocol):
    """The parts that a step and a pass over sample images have in common.

    Attributes:
        name: Name of the task.
    """

    @property
    def name(self) -> str: ...

    def typical_config(self, config: Any) -> Any:
        """Return a config whose step takes the same memory beside the weights, with a usual number of classes."""

    def step_input(self, config: Any) -> StepInput:
        """Return the input of one group."""


class SampleStep(SampleInput, Protocol):
    """A training step over sample images: the part of a task that a dry run needs."""

    def sample_step(self, model: Any, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan) -> Job:
        """Return the step.

        Args:
            model: A model of the task.
            groups: All groups of the batch, on its device.
            read: Returns the input of a slice of the groups, on the device of the model.
            plan: Execution of the step.
        """


class SamplePass(SampleInput, Protocol):
    """A forward pass over a sample image.

    Attributes:
        casts_weights_ahead: Whether inference holds weights in the precision in which they are multiplied.
        returns_reads: Whether a streamed pass can return the weights of the last `read`.
    """

    @property
    def casts_weights_ahead(self) -> bool: ...

    @property
    def returns_reads(self) -> bool: ...

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        """Run the pass.

        Args:
            model: A model of the task, in eval mode.
            image: The image.
            how: Handfuls and store of a streamed pass; None for one call over everything.
        """
