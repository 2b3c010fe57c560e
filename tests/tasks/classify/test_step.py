"""The step of a classifier: its output, and the objective of training in every execution."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.steps import CONFIGS, PLANS, Step, assert_same_gradients

from fitcli.data.batch import Batch
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.class_targets import ClassLabels
from fitcli.tasks.classify.objective import ClassificationObjective
from fitcli.tasks.classify.options import ClassifyOptions


def test_the_output_is_the_logits() -> None:
    step = Step(CONFIGS["classifier"])
    expected = step.model(step.patches(slice(None)), step.groups).logits.detach()
    for plan in PLANS.values():
        output = run_job(step.job(), plan).output
        assert output is not None
        assert not output.requires_grad
        assert (output - expected).abs().max() < 1e-12


def test_the_objective_of_training_is_the_same_in_every_execution() -> None:
    step = Step(CONFIGS["classifier"], "ragged", torch.float32)
    count = len(step.groups.number)
    gain, shift = torch.linspace(0.9, 1.1, count)[:, None, None], torch.linspace(-0.1, 0.1, count)[:, None, None]
    batch = Batch(step.pixels, step.groups, ClassLabels(step.labels), gain, shift)
    mean, std, weights = torch.full((3,), 120.0), torch.full((3,), 60.0), torch.tensor([1.0, 2.0, 0.5, 1.5])
    settings = SimpleNamespace(options=ClassifyOptions(label_smoothing=0.1), seed=0)
    run: Any = SimpleNamespace(settings=settings, config=SimpleNamespace(targets=()))
    objective = ClassificationObjective(mean=mean, std=std, weights=weights, run=run)
    logits = step.model((step.pixels - mean.repeat(4)) / std.repeat(4) * gain + shift, step.groups).logits
    each = F.cross_entropy(logits, step.labels, weights, label_smoothing=0.1, reduction="none")
    loss = each.sum() / len(step.labels)
    loss.backward()
    expected = step.gradients()
    for plan in (ExecutionPlan(), *PLANS.values()):
        outcome = run_job(objective.job(step.model, batch), plan)
        assert outcome.loss == pytest.approx(float(loss.detach()), rel=1e-5)
        assert_same_gradients(step.gradients(), expected, 1e-4)
