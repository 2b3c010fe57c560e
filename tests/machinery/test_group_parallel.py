"""One image over several ranks: outputs, losses and gradients of one process."""

from __future__ import annotations

import pytest
import torch
from architecture.batches import CONFIGS as MODELS
from architecture.batches import inputs_for, live, run, whole_and_ragged
from ranks import together
from steps import CONFIGS, PLANS, Step, assert_same_gradients
from torch import Tensor

from fitcli.execution.job import Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from models.groups import Groups
from models.share import Gather

Gradients = dict[str, Tensor | None]


def summed(gradients: list[Gradients]) -> Gradients:
    """Over the ranks."""
    found: Gradients = {}
    for name in gradients[0]:
        parts = [part for each in gradients if (part := each[name]) is not None]
        found[name] = torch.stack(parts).sum(dim=0) if parts else None
    return found


def run_together(step: Step, ranks: int, plan: ExecutionPlan) -> tuple[Tensor, Gradients, int]:
    """The loss and the gradients of all ranks together, and how many values the first received."""

    def work(rank: int, gather: Gather) -> tuple[Outcome, Gradients]:
        own = step.share(rank, ranks, gather)
        return run_job(own.job(), plan), own.gradients()

    found, values = together(ranks, work)
    return torch.stack([outcome.loss for outcome, _ in found]).sum(), summed([each for _, each in found]), values


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", CONFIGS)
def test_losses_and_gradients_are_those_of_one_process(name: str, kind: str, ranks: int) -> None:
    step = Step(CONFIGS[name], kind)
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    for plan_name, plan in {"plain": ExecutionPlan(), **PLANS}.items():
        found, gradients, _ = run_together(step, ranks, plan)
        assert abs(found / loss.detach() - 1) < 1e-12, plan_name
        assert_same_gradients(gradients, expected, 1e-9)


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("groups", whole_and_ragged(), ids=["whole", "ragged"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_one_process(name: str, groups: Groups, ranks: int) -> None:
    config = MODELS[name]
    model, inputs = live(config), inputs_for(config, groups)
    expected = run(model, groups, inputs)
    numbered = groups._replace(number=torch.arange(len(groups.number)))

    def work(rank: int, gather: Gather) -> tuple[Tensor, list[Tensor]]:
        own = numbered.share_of(rank, ranks, gather).number
        per_group = [value[own] if len(value) == len(groups.number) else value for value in inputs]
        return own, run(model, groups.share_of(rank, ranks, gather), per_group)

    found, _ = together(ranks, work)
    assert torch.equal(torch.cat([own for own, _ in found]).sort()[0], numbered.number)
    for own, outputs in found:
        for output, whole in zip(outputs, expected, strict=True):
            of_groups = len(whole) == len(groups.number)
            assert (output - (whole[own] if of_groups else whole)).abs().max() < 1e-9
