"""Ranks that hold something else than the others are named, on all ranks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from support.pictures import save
from support.processes import run_ranks
from support.small_runs import quietly, run_of, two_classes

from fitcli.device.runtime import choose_runtime
from fitcli.distributed.agreement import digest, require_agreement, weights_digest
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import ALONE, World
from fitcli.errors import FitError
from fitcli.tasks.registry import train_settings
from fitcli.training import prepare as preparation
from fitcli.training import trained_model
from fitcli.training.checkpointing.saved_states import load_state, save_state
from fitcli.training.checkpointing.snapshot import MODEL, State
from fitcli.training.loop import train
from fitcli.training.prepare import prepare
from fitcli.training.start_options import StartOptions
from models.build import build


class Gathered(World):
    """A rank that receives given facts."""

    ranks: list[dict[str, Any]]

    def gather(self, value: Any) -> list[Any]:
        return [{name: str(each) for name, each in facts.items()} for facts in Gathered.ranks]


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([{"seed": 1}, {"seed": 2}], "rank 1 differs in seed: it has 2, rank 0 has 1; advice"),
        ([{"seed": 1}, {"seed": 2}, {"seed": 2}], "rank 0 differs in seed: it has 1, rank 1 has 2; advice"),
        ([{"a": 1}, {"a": 2}, {"a": 2}, {"a": 3}], "ranks 0, 3 differ in a: rank 0 has 1, rank 1 has 2; advice"),
        (
            [{"a": 1}] * 6 + [{"a": 2}] * 6,
            "ranks 6, 7, 8, 9 and 2 more differ in a: rank 6 has 2, rank 0 has 1; advice",
        ),
        ([{"a": 1}, {"a": 1}, {"a": 1, "b": 5}], "rank 2 differs in b: it has 5, rank 0 has none; advice"),
        ([{"a": "x" * 99}, {"a": "y"}], f"rank 1 differs in a: it has y, rank 0 has {'x' * 60}...; advice"),
    ],
)
def test_the_rank_that_differs_is_named(ranks: list[dict[str, Any]], expected: str) -> None:
    for rank in range(len(ranks)):
        Gathered.ranks = ranks
        with pytest.raises(FitError) as raised:
            require_agreement(Gathered(rank=rank, size=len(ranks)), ranks[rank], "advice")
        assert (str(raised.value), raised.value.shared) == (expected, True)


def test_ranks_that_agree_go_on() -> None:
    Gathered.ranks = [{"a": [1, 2]}] * 3
    require_agreement(Gathered(rank=1, size=3), {"a": [1, 2]}, "")
    require_agreement(ALONE, {"a": object()}, "")


def test_hashes_follow_values_names_and_types() -> None:
    one = torch.tensor([1.0, 2.0])
    tensors = [("a", one), ("b", one), ("a", one.double()), ("a", one[:, None]), ("a", one + 1e-7), ("a", one[:0]),
               ("a", one.bfloat16()), ("a", torch.tensor(1.0))]  # fmt: skip
    assert len({weights_digest([pair]) for pair in tensors}) == len(tensors)
    assert weights_digest([("a", torch.stack([one, one], 1)[:, 0])]) == weights_digest([("a", one)])
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})


def start_rank(
    data: Path,
    folder: Path,
    case: str,
    odd_rank: int = 1,
    resume: bool = False,
    how: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Train on a rank, one of which differs in one thing. Return the error."""
    settings: dict[str, Any] = {"preset": "debug", "batch_size": 4, "steps": 2}
    # A process of its own: nothing has to be undone.
    odd, patch = os.environ["RANK"] == str(odd_rank), pytest.MonkeyPatch()
    if odd and case == "seed":
        settings["seed"] = 1
    if odd and case == "version":
        patch.setattr(preparation, "__version__", "0.0")
    if odd and case == "state":
        folder = folder.with_name("other")
    if odd and case in ("missing", "size", "pixels", "turned", "label"):
        data = data.with_name(f"{data.name}-{case}")
    if odd and case == "weights":
        patch.setattr(trained_model, "build", lambda *arguments, **named: build(*arguments, **{**named, "seed": 9}))
    try:
        with processes("cpu", how.get("group_parallel", 1)) as world:
            start = StartOptions(
                data=data, folder=folder, runtime=choose_runtime("cpu"), world=world, resume=resume,
                shard=how.get("shard", False),
            )  # fmt: skip
            run, _ = world.run_on_all(lambda: prepare(train_settings(**settings), start))
            train(run, lambda report: None, resume)
    except FitError as error:
        return str(error)
    except SystemExit as error:
        return str(error.__cause__)
    return "done"


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("seed", "rank 1 differs in --seed: it has 1, rank 0 has 0; "),
        ("version", "rank 1 differs in the version of fit: it has 0.0, rank 0 has "),
        ("missing", "rank 1 differs in the number of images: it has "),
        ("label", "rank 1 differs in the names, labels and splits of the images: it has "),
        ("size", "rank 1 differs in the sizes of the images: it has "),
        ("pixels", "rank 1 differs in the mean and deviation of the pixels: it has "),
        ("turned", "rank 1 differs in the pixels of "),
        ("weights", "rank 1 differs in the weights: it has "),
        ("none", "done"),
    ],
)
def test_training_compares_the_ranks(tmp_path: Path, case: str, expected: str) -> None:
    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    other = data.with_name(f"data-{case}")
    shutil.copytree(data, other)
    images = sorted(other.rglob("*.png"))
    if case == "missing":
        images[0].unlink()
    if case == "label":
        images[0].rename(images[-1].with_name("moved.png"))
    if case == "size":
        save(images[0], np.full((70, 90, 3), 9, np.uint8))
    if case == "pixels":
        for image in images:
            image.write_bytes(images[0].read_bytes())
    if case == "turned":
        for image in images:
            with PIL.Image.open(image) as picture:
                picture.rotate(180).save(image)
    messages = run_ranks(2, start_rank, data, run, case)
    assert messages[0] == messages[1]
    assert messages[0].startswith(expected)
    assert (run / "config.json").exists() == (case == "none")


SHARED = [{"shard": True}, {"group_parallel": 2}, {"group_parallel": 2, "shard": True}]


@pytest.mark.distributed
@pytest.mark.parametrize("how", SHARED, ids=str)
def test_weights_are_compared_however_the_ranks_share_the_work(tmp_path: Path, how: dict[str, Any]) -> None:
    """Of four ranks, the one that differs is named."""
    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    messages = run_ranks(4, start_rank, data, run, "weights", 2, False, how)
    assert len(set(messages)) == 1
    assert messages[0].startswith("rank 2 differs in the weights: it has ")
    assert not (run / "config.json").exists()


@pytest.mark.distributed
@pytest.mark.parametrize("how", [{}, *SHARED], ids=str)
def test_saved_states_and_pixels_are_compared_on_resuming(tmp_path: Path, how: dict[str, Any]) -> None:
    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    train(run_of(data, run, batch_size=4, steps=2), quietly)
    other = shutil.copytree(run, run.with_name("other"))
    states = list[State]()
    progress = load_state(other, states.append, lambda reason, step: None)
    first, *_ = (tensors := states[0][MODEL])
    save_state(other, {**states[0], MODEL: {**tensors, first: tensors[first] + 1}}, progress)
    shutil.copytree(data, data.with_name("data-pixels"))
    for image in data.with_name("data-pixels").rglob("*.png"):
        with PIL.Image.open(image) as picture:
            picture.rotate(180).save(image)
    for case, expected in (
        ("state", "rank 1 differs in the saved model.safetensors: it has "),
        ("pixels", "rank 1 differs in the pixels of "),
        ("none", "done"),
    ):
        messages = run_ranks(2, start_rank, data, run, case, 1, True, how)
        assert messages[0] == messages[1]
        assert messages[0].startswith(expected), case
