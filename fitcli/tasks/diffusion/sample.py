"""The step and the pass of a denoiser over sample images, to be estimated or measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.samples import SampleImage, StepInput
from fitcli.patches.sample_pixels import as_pixels
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.diffusion.config import image_values
from fitcli.tasks.diffusion.loss import DiffusionLoss
from fitcli.tasks.diffusion.step import DiffusionStep, diffusion_job
from fitcli.tasks.diffusion.stream import stream_denoiser
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser
from models.groups import Groups

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 10, 1000
"""Number of classes for which there is a table of memory, and up to how many classes a step takes about as much."""


class DenoisingSample:
    """A step and a pass over sample images; see `Task` for the members."""

    name = "diffusion"
    casts_weights_ahead = False
    returns_reads = False

    def typical_config(self, config: DenoiserConfig) -> DenoiserConfig:
        """Return a config whose step takes the same memory beside the weights, with a usual number of classes."""
        width = config.condition_width
        if width is None or width > MOST_TYPICAL_CLASSES:
            return config
        return replace(config, condition_width=TYPICAL_CLASSES)

    def step_input(self, config: DenoiserConfig) -> StepInput:
        """Return the input of one group."""
        return StepInput((config.tokens, config.values), torch.uint8, 256)

    def sample_step(
        self, model: FITDenoiser, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan
    ) -> Job:
        """Return the step, with the first prediction of self-conditioning; see `Task.sample_step`."""
        device, config = groups.number.device, model.config
        values, enlarges = image_values(config), config.time_features > 0

        def noise(part: slice) -> Tensor:
            return torch.zeros(part.stop - part.start, config.tokens, values, device=device)

        width = config.condition_width
        step = DiffusionStep(
            groups=groups,
            data=lambda part: as_pixels(read(part))[..., :values],
            noise=noise,
            time=torch.full((groups.images,), 0.5, device=device),
            condition=None if width is None else torch.zeros(groups.images, 1, width, device=device),
            conditioned=torch.ones(groups.images, dtype=torch.bool),
            given=(lambda part: as_pixels(read(part))[..., values:]) if enlarges else None,
            features=torch.zeros(groups.images, config.time_features, device=device) if enlarges else None,
        )
        # With `calls`, the first prediction runs whichever images are conditioned: without memory none can be asked.
        return diffusion_job(DiffusionLoss(), model, step, replace(plan, calls=max(1, plan.calls)))

    def sample_pass(self, model: Any, image: SampleImage, how: Streaming | None) -> None:
        """Run one prediction; see `SamplePass.sample_pass`."""
        level, width = torch.full((1,), 0.5, device=image.device), model.config.condition_width
        if features := model.config.time_features:
            level = torch.full((1, 1 + features), 0.5, device=image.device)
        condition = None if width is None else torch.zeros(1, 1, width, device=image.device)
        if how is None:
            model(as_pixels(image.inputs.to(image.device)), image.groups.to(image.device), level, condition)
            return
        stream_denoiser(
            model,
            image.groups,
            lambda part: as_pixels(image.inputs[part]),
            level,
            lambda part, values: None,
            how,
            condition,
            keep_latents=model.config.self_condition,
        )


DENOISING = DenoisingSample()
