"""The patches that a step embeds, and the layers that it skips."""

from __future__ import annotations

from typing import Any

import torch
from support.steps import CONFIGS, Step

from fitcli.data.batch import Batch
from fitcli.tasks.class_targets import ClassLabels
from fitcli.tasks.encoding.training_input import augmented_patches, layers_to_skip
from models.real_tokens import RealTokens


def step_and_batch() -> tuple[Any, Batch]:
    step = Step(CONFIGS["classifier"], "ragged", torch.float32)
    count = len(step.groups.number)
    gain, shift = torch.linspace(0.9, 1.1, count)[:, None, None], torch.linspace(-0.1, 0.1, count)[:, None, None]
    showings = tuple((0, number) for number in range(step.groups.images))
    return step, Batch(step.pixels, step.groups, ClassLabels(step.labels), gain, shift, showings)


def test_patches_are_normalised_and_augmented_by_group() -> None:
    step, batch = step_and_batch()
    mean, std = torch.tensor([100.0, 120.0, 90.0]), torch.tensor([50.0, 60.0, 70.0])
    expected = (step.pixels - mean.repeat(4)) / std.repeat(4) * batch.gain + batch.shift
    part = slice(1, 3)
    real = RealTokens.of(None if step.groups.mask is None else step.groups.mask[part])
    patches = augmented_patches(batch, mean, std)(part, real)
    torch.testing.assert_close(patches, real.pack(expected[part]))


def test_a_rate_of_zero_skips_no_layer() -> None:
    step, batch = step_and_batch()
    assert layers_to_skip(step.model.encoder, batch, 0.0, 1) is None
    drawn = layers_to_skip(step.model.encoder, batch, 0.9, 1)
    assert drawn is not None
    assert any(bool((factors == 0).any()) for factors in {**drawn.local, **drawn.mix}.values())
