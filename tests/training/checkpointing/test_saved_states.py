"""Saved states of a run: damage is detected, and the state before it is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fitcli.errors import CheckpointError
from fitcli.files.leftovers import remove_leftovers
from fitcli.training.checkpointing import saved_states
from fitcli.training.checkpointing.saved_states import forget_states, load_state, save_progress, save_state, saved_steps
from fitcli.training.checkpointing.snapshot import Progress, State, restore, snapshot

FILES = ["model.safetensors", "optimizer.safetensors", "state.json"]


class Training:
    """A small model that learns, and the reasons for states that it could not load."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.model: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1, bias=False))
        decayed = [{"params": [self.model[0].weight, self.model[2].weight]}]
        others = {"params": [self.model[0].bias, *self.model[1].parameters()], "weight_decay": 0.0}
        self.optimizer = torch.optim.AdamW([*decayed, others], lr=0.1)
        self.reasons: list[str] = []

    def step(self) -> None:
        self.optimizer.zero_grad()
        loss: torch.Tensor = self.model(torch.arange(12.0).reshape(4, 3)).square().mean()
        loss.backward()
        self.optimizer.step()

    def save(self, run: Path, step: int) -> None:
        save_state(
            run, snapshot(self.model, self.optimizer), Progress(step=step, best=(0.5, -1 / 3), headline=("a", "b"))
        )

    def use(self, state: State) -> None:
        restore(state, self.model, self.optimizer)

    def load(self, run: Path) -> Progress:
        return load_state(run, self.use, lambda reason, step: self.reasons.append(reason))

    def weights(self) -> list[torch.Tensor]:
        return [tensor.clone() for tensor in self.model.state_dict().values()]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, dict[int, list[torch.Tensor]]]:
    """States of steps 4 and 8, and the weights in them."""
    training, weights = Training(1), {}
    for step in (4, 8):
        training.step()
        training.save(tmp_path, step)
        weights[step] = training.weights()
    return tmp_path, weights


def folder(run: Path, step: int) -> Path:
    return run / f"training/states/{step:08}"


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def test_a_restored_state_continues_alike(tmp_path: Path) -> None:
    training, again = Training(1), Training(2)
    training.step()
    training.save(tmp_path, 7)
    assert again.load(tmp_path) == Progress(step=7, best=(0.5, -1 / 3), headline=("a", "b"))
    # Loaded tensors do not depend on the files.
    shutil.rmtree(folder(tmp_path, 7))
    for either in (training, again, training, again):
        either.step()
    assert same(training.weights(), again.weights())
    assert again.reasons == []


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_detected(saved: tuple[Path, Any], name: str) -> None:
    run, weights = saved
    path = folder(run, 8) / name
    good = path.read_bytes()
    for at in range(0, len(good), max(1, len(good) // 25)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        training = Training(2)
        assert training.load(run).step == 4
        assert same(training.weights(), weights[4])
        (reason,) = training.reasons
        assert reason.startswith(f"{folder(run, 8)}: damaged (")
        assert reason.endswith("; continuing from step 4, which was saved before")
    path.write_bytes(good)
    training = Training(2)
    assert training.load(run).step == 8
    assert training.reasons == []
    assert same(training.weights(), weights[8])


@pytest.mark.parametrize("kept", [None, 0, 0.5, 0.99], ids=["missing", "empty", "half", "almost all"])
@pytest.mark.parametrize("name", FILES)
def test_missing_and_truncated_files_are_detected(saved: tuple[Path, Any], name: str, kept: float | None) -> None:
    run, _ = saved
    path = folder(run, 8) / name
    path.unlink() if kept is None else path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    training = Training(2)
    assert training.load(run).step == 4
    assert len(training.reasons) == 1
    shutil.rmtree(folder(run, 8))
    folder(run, 8).mkdir()
    assert training.load(run).step == 4


def test_if_all_states_are_damaged_there_is_one_error(saved: tuple[Path, Any]) -> None:
    run, _ = saved
    for step in (4, 8):
        (folder(run, step) / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"00000008: damaged .*, and no state before it is whole; start a new run"
    ):
        Training(2).load(run)
    shutil.rmtree(run / "training/states")
    with pytest.raises(CheckpointError, match=r"no saved state is left in training/states"):
        Training(2).load(run)


def rewrite(run: Path, step: int, **changes: Any) -> None:
    """Change a manifest and its checksum."""
    path = folder(run, step) / "state.json"
    document = {**json.loads(path.read_text()), **changes}
    document.pop("checksum")
    checksum = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**document, "checksum": checksum}))


def test_a_newer_format_is_refused_with_both_versions(saved: tuple[Path, Any]) -> None:
    run, _ = saved
    rewrite(run, 8, fit="9.1", format=saved_states.FORMAT)
    assert Training(2).load(run).step == 8
    rewrite(run, 8, format=saved_states.FORMAT + 1)
    with pytest.raises(CheckpointError, match=r"saved by fit 9\.1 \(format 2\), this is fit .* \(format 1\); install"):
        Training(2).load(run)


@pytest.mark.parametrize("progress", [{}, {"step": 8, "moon": 1}, [], 5])
def test_a_manifest_of_something_else_is_refused(saved: tuple[Path, Any], progress: object) -> None:
    run, _ = saved
    rewrite(run, 8, progress=progress)
    assert Training(2).load(run).step == 4


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["FIT_TEST_TRAP"],)


def test_a_pickle_is_never_run(saved: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = saved
    monkeypatch.setenv("FIT_TEST_TRAP", str(tmp_path / "sprung"))
    for save in (lambda path: path.write_bytes(pickle.dumps(Trap(), 2)), lambda path: torch.save({"a": Trap()}, path)):
        path = folder(run, 8) / "model.safetensors"
        save(path)
        sums = json.loads((folder(run, 8) / "state.json").read_text())["sha256"]
        rewrite(run, 8, sha256={**sums, path.name: hashlib.sha256(path.read_bytes()).hexdigest()})
        assert Training(2).load(run).step == 4
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap()))
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_a_state_of_another_model_is_not_used(saved: tuple[Path, Any]) -> None:
    run, _ = saved
    training = Training(2)
    training.model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 1, bias=False))
    training.optimizer = torch.optim.AdamW(training.model.parameters())
    with pytest.raises(CheckpointError, match=r"00000008: damaged \(Error.* size mismatch for 0.weight"):
        training.load(run)


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    training = Training(1)
    for step in range(5):
        training.save(tmp_path, step)
    forget_states(tmp_path, keep=3, newest=4)
    assert saved_steps(tmp_path) == [4, 3, 2]
    forget_states(tmp_path, keep=2, newest=3)
    assert saved_steps(tmp_path) == [3, 2], "the steps of later states are repeated"


def test_progress_can_be_replaced_alone(saved: tuple[Path, Any]) -> None:
    run, weights = saved
    save_progress(run, Progress(step=8, validated=8, judged_on="them"))
    training = Training(2)
    assert training.load(run) == Progress(step=8, validated=8, judged_on="them")
    assert same(training.weights(), weights[8])


class Stopped(BaseException):
    """The process ends here."""


CALLS = ("replace", "rename", "fsync", "mkdir", "open")


@pytest.mark.walk(5)
@pytest.mark.parametrize("moment", range(1, 16))
def test_a_state_exists_if_the_process_ends_while_the_next_is_saved(
    saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """As after a kill, nothing is cleaned up."""
    run, weights = saved
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    for name in ("unlink", "rmdir"):
        monkeypatch.setattr(os, name, lambda *_, **__: None)
    calls = 0

    def counted(name: str) -> Any:
        real = getattr(os, name)

        def call(*arguments: Any, **settings: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == moment:
                raise Stopped
            return real(*arguments, **settings)

        return call

    training, after = Training(3), Training(4)
    training.step()
    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(name))
        try:
            training.save(run, 12)
            forget_states(run, keep=1, newest=12)
        except Stopped:
            pass
    assert calls >= moment, "it was over before"
    step = after.load(run).step
    assert step in (8, 12)
    assert same(after.weights(), weights[8] if step == 8 else training.weights())
    monkeypatch.undo()
    training.save(run, 16)
    assert after.load(run).step == 16
    remove_leftovers(run, "training", "training/states")
    assert not list(run.rglob(".fit-*"))


def test_all_of_the_progress_is_saved(tmp_path: Path) -> None:
    progress = Progress(step=3, validated=2, best=(0.1, 2 / 3), best_step=2, judged_on="x", headline=("loss", "0.1"))
    assert all(getattr(progress, field.name) != field.default for field in dataclasses.fields(progress))
    training = Training(1)
    save_state(tmp_path, snapshot(training.model, training.optimizer), progress)
    assert training.load(tmp_path) == progress
