"""Stochastic depth skips the same layers in every execution, and changes nothing on average."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from support.steps import CONFIGS, PLANS, Step, assert_same_gradients

from fitcli.execution.drop_path import DropPath, draw_drop_path
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.classify.step import classification_job

SHOWINGS = ((0, 5), (0, 9), (3, 5))


def draw(step: Step, rate: float = 0.9, showings: tuple[tuple[int, int], ...] = SHOWINGS) -> DropPath:
    return draw_drop_path(step.model.encoder.trunk, step.groups, showings, rate, seed=1)


def test_every_execution_skips_the_same_layers() -> None:
    step = Step(CONFIGS["classifier"])
    drop_path = draw(step)

    def job() -> Any:
        return classification_job(step.model, step.groups, step.packed, step.cross_entropy, drop_path)

    expected_loss = run_job(job(), ExecutionPlan()).loss
    expected = step.gradients()
    assert abs(expected_loss - step.plain().detach()) > 1e-3, "the skipped layers change the loss"
    step.gradients()
    for name, plan in PLANS.items():
        assert abs(run_job(job(), plan).loss / expected_loss - 1) < 1e-12, name
        assert_same_gradients(step.gradients(), expected, 1e-9)


def test_a_skipped_layer_does_nothing() -> None:
    """Skip every layer for one image: its logits are those of a model without these layers."""
    step = Step(CONFIGS["classifier"])
    trunk = step.model.encoder.trunk
    counts = torch.tensor([1.0, 0.0, 1.0])
    local = {layer: counts for segment in trunk.segments for layer in segment.local}
    mix = {layer: counts for segment in trunk.segments for layer in segment.mix.stack}
    drop_path = DropPath(local, mix, step.groups.image_of_group())
    logits = []

    def keep(values: torch.Tensor) -> torch.Tensor:
        logits.append(values.detach())
        return F.cross_entropy(values, step.labels)

    run_job(classification_job(step.model, step.groups, step.packed, keep, drop_path), ExecutionPlan())
    whole = step.model(step.patches(slice(None)), step.groups).logits
    for segment in trunk.segments:
        segment.local.layers = torch.nn.ModuleList()
        segment.mix.stack.layers = torch.nn.ModuleList()
    bare = step.model(step.patches(slice(None)), step.groups).logits
    assert (logits[0] - whole)[[0, 2]].abs().max() < 1e-12
    assert (logits[0] - bare)[1].abs().max() < 1e-12


def test_image_and_epoch_determine_the_draw() -> None:
    step = Step(CONFIGS["classifier"])
    one, other = draw(step), draw(step, showings=(SHOWINGS[2], SHOWINGS[0], SHOWINGS[1]))
    for layer, counts in {**one.local, **one.mix}.items():
        again = {**other.local, **other.mix}[layer]
        assert torch.equal(counts, again[[1, 2, 0]])


def test_rates_rise_with_depth_and_nothing_changes_on_average() -> None:
    step = Step(CONFIGS["classifier"])
    many = draw(step, 0.5, tuple((epoch, 7) for epoch in range(4000)))
    # Sorted by depth: the first segment has two local layers and one global one, the second one and two.
    local, mix = list(many.local.values()), list(many.mix.values())
    counts = torch.stack([*local[:2], mix[0], local[2], *mix[1:]])
    skipped = (counts == 0).double().mean(dim=1)
    assert torch.allclose(skipped, torch.linspace(0, 0.5, 6, dtype=torch.float64), atol=0.03)
    assert torch.allclose(counts.mean(dim=1), torch.ones(6), atol=0.05)
