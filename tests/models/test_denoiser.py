"""Test that every input of a denoiser matters, to its own image only, and what the defaults stand for."""

from __future__ import annotations

import torch
from support.batches import CONDITION, denoiser_config, inputs_for, live

from models.groups import Groups


def test_every_input_of_a_denoiser_matters_to_its_own_image_only() -> None:
    groups = Groups.of_grid(images=2, rows=1, columns=2)
    model = live(denoiser_config())
    patches, previous, level, condition = inputs_for(model.config, groups)
    reference = model(patches, groups, level, condition, previous).tokens
    first = torch.tensor([1.0, 0.0]).double()
    of_first = groups.scatter(first[:, None].expand(2, 2))[:, None, None]  # [g 1 1]
    variants = {
        "level": model(patches, groups, level + 0.1 * first, condition, previous),
        "condition": model(patches, groups, level, condition + first[:, None, None], previous),
        "previous": model(patches, groups, level, condition, previous * (1 + of_first)),
    }
    for name, variant in variants.items():
        difference = (variant.tokens - reference).abs().amax(dim=(1, 2))
        assert (difference[:2] > 1e-6).all(), name
        assert (difference[2:] == 0).all(), name


def test_previous_latents_default_to_zeros_and_condition_to_none() -> None:
    groups = Groups.of_grid(images=2, rows=1, columns=2)
    model = live(denoiser_config())
    patches, previous, level, condition = inputs_for(model.config, groups)
    without = model(patches, groups, level, condition)
    zeros = model(patches, groups, level, condition, torch.zeros_like(previous))
    assert torch.equal(without.tokens, zeros.tokens)
    unconditional = model(patches, groups, level)
    assert not torch.equal(unconditional.tokens, without.tokens)
    assert torch.equal(unconditional.tokens, model(patches, groups, level, condition[:, :0]).tokens)


def test_conditioning_tokens_have_no_order() -> None:
    groups = Groups.of_grid(images=1, rows=1, columns=2)
    model = live(denoiser_config())
    patches, previous, level, condition = inputs_for(model.config, groups)
    assert condition.shape == (1, 2, CONDITION)
    forward = model(patches, groups, level, condition, previous).tokens
    backward = model(patches, groups, level, condition.flip(1), previous).tokens
    assert (forward - backward).abs().max() < 1e-12
