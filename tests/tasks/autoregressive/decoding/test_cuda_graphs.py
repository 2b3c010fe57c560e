"""What is replayed gives what is computed. The graphs are `fake_graphs`; those marked `gpu` are real."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import decoders
from support.batches import VOCABULARY
from support.fake_graphs import FakeGraph, graphs  # noqa: F401
from torch import Tensor

from fitcli.errors import FitError
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.decoding.cuda_graphs import CaptureError, RecordedFunction, Recorder
from fitcli.tasks.autoregressive.decoding.sample import FREE, sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.generate_images import Request, generate_images
from fitcli.tasks.autoregressive.sequences import sequence_groups
from models.build import build
from models.presets import decoder_preset

DEVICE = torch.device("cuda")

CASES: list[dict[str, Any]] = [
    {"plan": "(1)1(1)1(1)", "classes": 3},
    {"plan": "(2)"},
    {"plan": "(0)1(1)", "cross_mlp": True, "local_attention": False},
]


def test_a_function_is_recorded_at_its_second_call_and_replayed_from_then_on(graphs: list[FakeGraph]) -> None:  # noqa: F811
    calls, kept = list[int](), torch.zeros(3)

    def function(x: Tensor, y: Tensor) -> Tensor:
        calls.append(len(calls))
        kept[1:] = x[1:] * 2
        return (x + y).cumsum(0) + kept

    recorded, rng = RecordedFunction(function, Recorder(DEVICE)), torch.Generator().manual_seed(0)
    results = []
    for number in range(5):
        x, y = torch.rand(3, generator=rng), torch.rand(3, generator=rng)
        results.append((recorded(x, y), (x + y).cumsum(0) + torch.cat([torch.zeros(1), 2 * x[1:]])))
        assert torch.equal(kept[1:], 2 * x[1:])
        assert [graph.replays for graph in graphs] == ([number] if number else [])
    # Once; then to warm up, and while it is recorded.
    assert len(calls) == 3
    for result, expected in results:
        assert torch.equal(result, expected), "also after later replays"


def test_what_asks_for_a_value_cannot_be_recorded(graphs: list[FakeGraph]) -> None:  # noqa: F811
    recorded = RecordedFunction(lambda x: x * x.sum().item(), Recorder(DEVICE))
    recorded(torch.ones(2))
    with pytest.raises(CaptureError, match=r"^operation not permitted when stream is capturing$"):
        recorded(torch.ones(2))


@pytest.mark.walk(4)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["plan"])
@pytest.mark.parametrize("draws", [Draws(seed=3), Draws(seed=3, top_k=9, top_p=0.8), Draws(temperature=0)], ids=str)
def test_sequences_are_the_same_with_graphs(graphs: list[FakeGraph], case: dict[str, Any], draws: Draws) -> None:  # noqa: F811
    """Where all is drawn, and where a whole group and parts of others are known."""
    model, groups = decoders.decoder(dtype=torch.float32, **case), sequence_groups(2, 3)
    labels = [0, 2] if case.get("classes") else None
    some = torch.full((6, model.config.tokens), FREE)
    some[0], some[2, :2], some[4, 1] = 1, torch.tensor([0, 3]), 2
    for known in (None, some):
        graphs.clear()
        first = [VOCABULARY, VOCABULARY]
        expected = sample(model, groups, first, draws, labels, known)
        assert torch.equal(sample(model, groups, first, draws, labels, known, graphs=True), expected)
        assert len(graphs) == model.config.tokens
        assert len({id(graph.pool) for graph in graphs}) == 1
        assert sum(graph.replays for graph in graphs) == int((known is None) * 5 * 4 or (some == FREE).sum() - 4)


def test_graphs_are_for_cuda_devices() -> None:
    with pytest.raises(FitError, match="--cuda-graphs is for CUDA devices, not for cpu; leave it out"):
        generate_images(decoders.checkpoint(), Request(graphs=True))


def test_what_cannot_be_recorded_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object) -> Tensor:
        raise CaptureError("operation not permitted")

    made = decoders.checkpoint()
    monkeypatch.setattr("fitcli.tasks.autoregressive.generate_images.sample", refused)
    with pytest.raises(FitError, match=r"^--cuda-graphs: .* cannot record this here \(operation not permitted\); "):
        list(generate_images(made, Request()))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("preset", "draws"),
    [
        ("debug", Draws(seed=3)),
        ("debug", Draws(seed=3, top_k=9, top_p=0.8)),
        ("debug", Draws(temperature=0)),
        ("tiny", Draws(seed=3)),
    ],
    ids=str,
)
def test_a_cuda_device_draws_the_same_with_graphs(preset: str, draws: Draws) -> None:
    """Two batches, one after the other: the graphs of the first are gone by then."""
    config, _ = decoder_preset(preset, 3, 4, 64, 4)
    model, groups = build(config, seed=0).eval().cuda(), sequence_groups(2, 3)
    known = torch.full((6, config.tokens), FREE)
    known[0], known[2, :2] = 1, 3
    for given in (None, known):
        first, labels = [64, 65, 66], [0, 1, 2]
        expected = sample(model, groups, first, draws, labels, given)
        assert torch.equal(sample(model, groups, first, draws, labels, given, graphs=True), expected)


@pytest.mark.gpu
def test_a_cuda_device_generates_the_same_images_with_graphs() -> None:
    made = decoders.checkpoint(classes=decoders.CLASSES, size=(16, 12))
    there = Checkpoint(made.model.float().cuda(), made.config)
    plain, graphed = (list(generate_images(there, Request(count=5, batch=2, graphs=on))) for on in (False, True))
    assert all(np.array_equal(one, other) for one, other in zip(plain, graphed, strict=True))
