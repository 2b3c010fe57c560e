"""Builds the training step of a denoiser: `DiffusionLoss`, a handful of groups at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.execution.forward import last_latents
from fitcli.execution.job import Job, Part, largest_handful
from fitcli.execution.missing import Missing
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.diffusion.loss import DiffusionLoss
from fitcli.tasks.diffusion.parameterization import add_noise, per_group
from models.checks import ConfigError
from models.denoiser import FITDenoiser
from models.groups import Groups
from models.real_tokens import RealTokens


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionStep:
    """The images and the random numbers of one step, a slice of the groups at a time.

    Attributes:
        groups: All groups of the batch.
        data: Returns patches [part n p] in [-scale, scale], the same in every call.
        noise: Draws standard normal noise [part n p], the same in every call.
        time: Time of each image, [b], in [0, 1].
        condition: Conditioning tokens [b s width]; None for a model without them.
        conditioned: Whether each image starts from the latents of a first prediction without gradients, [b] bool, on
            the host; None if no image does.
        missing: Values [part n p] that the loss leaves out; None if it counts all but padding.
        given: Returns patches [part n p] of the smaller version of each image, enlarged, which the network sees beside
            the noisy ones; None for a model that sees none.
        features: Features of each image besides the noise level, [b f]; None for a model without them.
    """

    groups: Groups
    data: Part
    noise: Part
    time: Tensor
    condition: Tensor | None = None
    conditioned: Tensor | None = None
    missing: Missing | None = None
    given: Part | None = None
    features: Tensor | None = None


def diffusion_job(loss: DiffusionLoss, model: FITDenoiser, step: DiffusionStep, plan: ExecutionPlan) -> Job:
    """Return the step of a loss, with self-conditioning by masking.

    The first prediction of self-conditioning runs here, with the execution of `plan`. It takes no more memory than the
    step.

    Raises:
        ConfigError: The loss normalises the input of the network, which needs all patches of an image at once.
    """
    if loss.normalize:
        raise ConfigError("a loss that normalises noisy images cannot be computed a handful of groups at a time")
    groups = step.groups
    patches = groups.count_real_tokens(model.config.tokens)
    gamma = loss.schedule(step.time)  # [b]
    spread = per_group(gamma, groups)  # [g 1 1]

    noise_of = step.noise if plan.in_handfuls else drawn_once(step.noise, len(groups.number))

    def inputs(part: slice, real: RealTokens) -> tuple[Tensor, Tensor, Tensor]:
        return real.pack(step.data(part)), real.pack(noise_of(part)), real.per_token(spread[part])

    def noisy(part: slice, real: RealTokens) -> Tensor:
        values = add_noise(*inputs(part, real))
        return values if step.given is None else torch.cat([values, real.pack(step.given(part))], dim=-1)

    def group_loss(part: slice, real: RealTokens, output: Tensor) -> Tensor:
        data, noise, level = inputs(part, real)
        error, _ = loss.error(output, add_noise(data, noise, level), data, noise, level)
        if step.missing is not None:
            return _group_means(step.missing.zero(error, part, real), real, max(step.missing.present, 1))
        return _group_means(error, real, patches * error.shape[-1])

    level = gamma if step.features is None else torch.cat([gamma[:, None], step.features.to(gamma.dtype)], dim=1)
    job = denoising_job(model, groups, noisy, level, group_loss, step.condition)
    if step.conditioned is None or not model.config.self_condition:
        return job
    # With `plan.calls`, all processes have to call layers equally often, so each runs the first prediction.
    if not plan.calls and not step.conditioned.any():
        return job
    latents = last_latents(job, plan)
    previous = latents * per_group(to_device(step.conditioned.to(latents.dtype), latents.device), groups)
    return denoising_job(model, groups, noisy, level, group_loss, step.condition, previous)


def drawn_once(draw: Part, count: int) -> Part:
    """Return a function with the values of `draw`, which keeps those of all `count` groups from its first call on.

    For executions that have all groups in memory: noise takes longer to draw than to keep.
    """
    whole = cache(lambda: draw(slice(0, count)))
    return lambda part: whole()[part]


def denoising_job(
    model: FITDenoiser,
    groups: Groups,
    patches: Callable[[slice, RealTokens], Tensor],
    level: Tensor,
    loss: Callable[[slice, RealTokens, Tensor], Tensor],
    condition: Tensor | None = None,
    previous: Tensor | None = None,
) -> Job:
    """Return the step of a loss over the predictions for all patches.

    Args:
        model: The denoiser.
        groups: All groups of the batch, on the device of the model.
        patches: Returns noisy patches, packed from [part n p].
        level, condition, previous: As in `FITDenoiser.forward`.
        loss: Maps the predictions for a slice of the groups, packed from [part n out_values], to the contribution of
            each group, [part]; `mean_square` returns such a function.
    """
    return Job(
        trunk=model.trunk,
        groups=groups,
        embed=lambda part, real: model.embed(patches(part, real), real),
        start=lambda: model.begin(groups, next(model.parameters()), previous),
        context=lambda: model.context(level, condition),
        loss_from_tokens=lambda part, real, tokens: loss(part, real, model.predict(tokens, real)),
        largest=largest_handful(model.config),
    )


def mean_square(groups: Groups, target: Part) -> Callable[[slice, RealTokens, Tensor], Tensor]:
    """Return a loss for `denoising_job`: the mean squared error against `target` [part n p], without padding."""

    def loss(part: slice, real: RealTokens, prediction: Tensor) -> Tensor:
        values = target(part)
        patches = groups.count_real_tokens(values.shape[1])
        return _group_means(real.pack(values) - prediction, real, patches * values.shape[2])

    return loss


def _group_means(error: Tensor, real: RealTokens, values: int) -> Tensor:
    """Return the contribution [part] of each group to the mean square over `values` values.

    The errors are packed from [part n p].
    """
    return real.unpack(error.square()).sum(dim=(1, 2)) / values
