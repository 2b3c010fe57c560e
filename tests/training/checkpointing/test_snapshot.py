"""Snapshots of model, optimizer and average; and how a run records the result of a validation."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fitcli.training.checkpointing.snapshot import Progress, State, restore, snapshot


class Learner:
    """A small model with its optimizer, and a copy of the model in place of an average."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1, bias=False))
        self.average = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss: Tensor = self.model(torch.arange(12.0).reshape(4, 3)).square().mean()
        loss.backward()
        self.optimizer.step()

    def snapshot(self, **settings: bool) -> State:
        return snapshot(self.model, self.optimizer, self.average, **settings)

    def restore(self, state: State) -> None:
        restore(state, self.model, self.optimizer, self.average)


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for part, tensors in one.items():
        assert tensors.keys() == other[part].keys()
        assert all(torch.equal(tensor, other[part][name]) for name, tensor in tensors.items()), part


def test_a_restored_learner_continues_alike() -> None:
    learner, other = Learner(1), Learner(2)
    learner.step()
    state = learner.snapshot()
    assert {name.rpartition("/")[2] for name in state["optimizer"]} == {"step", "exp_avg", "exp_avg_sq"}
    other.restore(state)
    assert_equal(other.snapshot(), state)
    for one in (learner, other):
        one.step()
    assert_equal(other.snapshot(), learner.snapshot())


def test_a_restored_learner_does_not_share_moments_with_the_state() -> None:
    """The tensors of a state may be mapped from a file that is removed."""
    learner = Learner(1)
    learner.step()
    state = learner.snapshot()
    before = {name: tensor.clone() for name, tensor in state["optimizer"].items()}
    learner.restore(state)
    learner.step()
    assert all(torch.equal(tensor, state["optimizer"][name]) for name, tensor in before.items())


def test_a_copied_snapshot_stays_as_it_is_and_another_takes_no_memory() -> None:
    learner = Learner(1)
    learner.step()
    copied, shared = learner.snapshot(copy=True), learner.snapshot(copy=False)
    before = {part: {name: tensor.clone() for name, tensor in named.items()} for part, named in copied.items()}
    learner.step()
    assert_equal(copied, before)
    assert not torch.equal(shared["model"]["0.weight"], before["model"]["0.weight"])


def test_a_process_that_does_not_write_keeps_no_tensors() -> None:
    state = Learner(1).snapshot(keep=False)
    assert not sum(tensor.numel() for tensors in state.values() for tensor in tensors.values())


def test_the_state_of_another_model_is_refused() -> None:
    learner, state = Learner(1), Learner(2)
    state.step()
    tensors = state.snapshot()
    tensors["optimizer"]["elsewhere/exp_avg"] = torch.zeros(1)
    with pytest.raises(KeyError, match="moments of elsewhere, which the model lacks"):
        learner.restore(tensors)
    with pytest.raises(RuntimeError, match="size mismatch"):
        learner.restore({**state.snapshot(), "model": nn.Sequential(nn.Linear(5, 4)).state_dict()})


def test_the_best_validation_so_far() -> None:
    progress = Progress()
    outcomes = []
    for step, rank in ((4, (0.5, -2.0)), (8, (0.5, -1.0)), (12, (0.5, -1.0)), (16, (0.4, 0.0))):
        progress.step = step
        outcomes.append(progress.add_validation(rank, ("accuracy", f"{rank[0]:.0%}"), "images"))
    assert outcomes == [True, True, False, False]
    assert progress == Progress(16, 16, (0.5, -1.0), 8, "images", ("accuracy", "50%"))


def test_the_outcome_counts_steps() -> None:
    assert [Progress(step=step).summary(Path("run")) for step in (1, 2)] == ["run: 1 step", "run: 2 steps"]
    best = Progress(step=1, best=(1.0,), headline=("accuracy", "50%"))
    assert best.summary(Path("run")) == "run: 1 step, best validation accuracy 50%"


def test_a_validation_on_other_images_is_the_best_of_its_own() -> None:
    progress = Progress(step=4)
    assert progress.add_validation((0.9,), ("accuracy", "90%"), "images")
    progress.step = 8
    assert progress.add_validation((0.1,), ("accuracy", "10%"), "other images")
    assert (progress.best, progress.best_step, progress.judged_on) == ((0.1,), 8, "other images")
