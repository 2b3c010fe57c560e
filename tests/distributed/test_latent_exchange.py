"""Ranks that share an image give the outputs, losses and gradients of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import CONFIGS as MODELS
from support.batches import inputs_for, live, run, whole_and_ragged
from support.float64_runs import CASES, RECOMPUTE, assert_close_runs, train_here
from support.pictures import save
from support.processes import run_ranks
from support.ranks import run_on_all
from support.steps import CONFIGS, PLANS, Step, assert_same_gradients
from torch import Tensor

from fitcli.distributed.latent_exchange import Exchange, exchanged_values
from fitcli.distributed.process_group import processes
from fitcli.execution.job import Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from models import causal_strips
from models.groups import Gather, Groups, span

Gradients = dict[str, Tensor | None]

HOW: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "recompute": RECOMPUTE,
    "stream": {"kind": "stream", "handful": 2},
}


def sum_over_ranks(gradients: list[Gradients]) -> Gradients:
    sums: Gradients = {}
    for name in gradients[0]:
        parts = [part for each in gradients if (part := each[name]) is not None]
        sums[name] = torch.stack(parts).sum(dim=0) if parts else None
    return sums


def run_on_ranks(step: Step, ranks: int, plan: ExecutionPlan) -> tuple[Tensor, Gradients, int]:
    """Return the summed loss and gradients of all ranks, and the number of values that the first one received."""

    def work(rank: int, gather: Gather) -> tuple[Outcome, Gradients]:
        own = step.share(rank, ranks, gather)
        return run_job(own.job(), plan), own.gradients()

    results, values = run_on_all(ranks, work)
    loss = torch.stack([outcome.loss for outcome, _ in results]).sum()
    return loss, sum_over_ranks([gradients for _, gradients in results]), values


def assert_same_step(name: str, kind: str, ranks: int, plans: dict[str, ExecutionPlan]) -> None:
    step = Step(CONFIGS[name], kind)
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    for plan_name, plan in plans.items():
        shared, gradients, _ = run_on_ranks(step, ranks, plan)
        assert abs(shared / loss.detach() - 1) < 1e-12, plan_name
        assert_same_gradients(gradients, expected, 1e-9)


@pytest.mark.parametrize("name", ["classifier", "denoiser", "decoder of classes", "causal classifier"])
def test_a_step_of_three_ranks_is_that_of_one(name: str) -> None:
    """The images have two, two and three groups: ranks have uneven numbers of groups, some none."""
    plans = {"plain": ExecutionPlan(), **{name: PLANS[name] for name in ("all replayed", "streamed, reruns")}}
    assert_same_step(name, "ragged", 3, plans)


@pytest.mark.parametrize("kind", ["whole", "ragged"])
@pytest.mark.parametrize("name", ["decoder", "causal classifier"])
def test_causal_strips_of_three_ranks_are_those_of_one(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A strip of one group: ranks begin in the middle of the keys, and see no padding of the ranks before."""
    monkeypatch.setattr(causal_strips, "STRIP", 4)
    assert_same_step(name, kind, 3, {"plain": ExecutionPlan(), "all replayed": PLANS["all replayed"]})


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_step_of_several_ranks_is_that_of_one(name: str, kind: str, ranks: int) -> None:
    assert_same_step(name, kind, ranks, {"plain": ExecutionPlan(), **PLANS})


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("name", ["classifier", "denoiser", "decoder"])
def test_latents_alone_are_exchanged(name: str, ranks: int) -> None:
    step = Step(CONFIGS[name], "ragged")
    images, groups = step.groups.images, step.groups.longest
    for replays, plan in enumerate((ExecutionPlan(), PLANS["all replayed"])):
        assert run_on_ranks(step, ranks, plan)[2] == exchanged_values(CONFIGS[name], images, groups, ranks, replays)


def test_in_bfloat16_half_as_much_is_sent_between_layers() -> None:
    sent = []

    def work(rank: int, gather: Gather) -> None:
        def noted(values: Tensor) -> Tensor:
            sent.append(values)
            return gather(values)

        with torch.autocast("cpu", torch.bfloat16):
            step.model(step.patches(slice(None)), step.groups.share_of(rank, 1, noted))

    step = Step(CONFIGS["classifier"], "whole", torch.float32)
    run_on_all(1, work)
    *between_layers, scores, pooled = sent
    assert {values.dtype for values in between_layers} == {torch.bfloat16}
    # The softmax of the pooling head is computed in float32.
    assert scores.dtype == torch.float32
    assert scores.numel() + pooled.numel() < min(values.numel() for values in between_layers)


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("groups", whole_and_ragged(), ids=["whole", "ragged"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_one_process(name: str, groups: Groups, ranks: int) -> None:
    config = MODELS[name]
    model, inputs = live(config), inputs_for(config, groups)
    expected = run(model, groups, inputs)
    numbered = groups._replace(number=torch.arange(len(groups.number)))

    def work(rank: int, gather: Gather) -> tuple[Tensor, list[Tensor]]:
        own = numbered.share_of(rank, ranks, gather).number
        own_inputs = [value[own] if len(value) == len(groups.number) else value for value in inputs]
        return own, run(model, groups.share_of(rank, ranks, gather), own_inputs)

    results, _ = run_on_all(ranks, work)
    assert torch.equal(torch.cat([own for own, _ in results]).sort()[0], numbered.number)
    for own, outputs in results:
        for output, whole in zip(outputs, expected, strict=True):
            per_group = len(whole) == len(groups.number)
            assert (output - (whole[own] if per_group else whole)).abs().max() < 1e-9


@pytest.mark.parametrize("count", range(8))
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_shares_follow_each_other_and_are_as_even_as_can_be(count: int, ranks: int) -> None:
    spans = [span(count, rank, ranks) for rank in range(ranks)]
    assert [place for part in spans for place in range(count)[part]] == list(range(count))
    lengths = [part.stop - part.start for part in spans]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1


def test_there_are_no_shares_of_shares() -> None:
    groups = Groups.of_grid(1, 2, 2)
    for rank, ranks in ((2, 2), (-1, 2)):
        with pytest.raises(ValueError, match="has no share"):
            groups.share_of(rank, ranks, torch.clone)
    with pytest.raises(ValueError, match="has no share"):
        groups.share_of(0, 2, torch.clone).share_of(0, 2, torch.clone)


def exchange() -> tuple[list[float], list[float], int]:
    """Return the gathered values, the gradients and the number of received bytes of a process."""
    with processes("cpu") as world:
        gather = Exchange(world.data.group)
        values = torch.full((3,), float(world.rank), dtype=torch.float64, requires_grad=True)
        gathered = gather(values)
        (gathered * torch.arange(1.0, world.size + 1)[:, None] * 10**world.rank).sum().backward()
        assert values.grad is not None
        return gathered[:, 0].tolist(), values.grad.tolist(), gather.received_bytes


@pytest.mark.distributed
def test_processes_gather_values_and_sum_gradients() -> None:
    for rank, (gathered, gradient, received) in enumerate(run_ranks(3, exchange)):
        assert gathered == [0, 1, 2]
        assert gradient == [111 * (rank + 1)] * 3
        assert received == 2 * (3 * 8) * 2


def train_sharing_images(data: Path, ranks: int, runs: list[dict[str, Any]]) -> None:
    """Train several runs one after the other, each by processes that share images."""
    with processes("cpu", ranks) as world:
        for settings in runs:
            train_here(data, world=world, **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 1 to 6 groups, so that most processes have no group of the smallest ones."""
    folder = tmp_path_factory.mktemp("data")
    sizes = ((20, 30), (90, 40), (100, 140), (64, 64))
    for label in ("one", "other"):
        for number in range(4):
            pixels = np.random.default_rng([len(label), number]).integers(0, 256, (*sizes[number], 3), np.uint8)
            save(folder / label / f"{number}.png", pixels)
    return folder


@pytest.mark.distributed
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("count", "ranks", "shard", "tasks"),
    [
        (2, 2, False, list(CASES)),
        (3, 3, False, ["classify", "diffusion"]),
        (4, 2, False, ["classify"]),
        (4, 2, True, ["classify"]),
    ],
)
def test_training_by_processes_that_share_images(
    data: Path, tmp_path: Path, count: int, ranks: int, shard: bool, tasks: list[str]
) -> None:
    """Four processes are two sets of two, which have different images."""
    runs = [
        {"folder": tmp_path / f"{task} {name}", "shard": shard, "augment": True, "plan": plan, **CASES[task]}
        for task in tasks
        for name, plan in HOW.items()
        if not (shard and name == "stream")
    ]
    run_ranks(count, train_sharing_images, data, ranks, runs)
    for task in tasks:
        train_here(data, tmp_path / task, **CASES[task], augment=True)
    for settings in runs:
        assert_close_runs(settings["folder"], tmp_path / settings["folder"].name.split()[0])
