"""Decoding token by token with caches: the logits of the whole model, and draws that keep what was promised."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import VOCABULARY, decoder_config, inputs_for, live
from support.golden_case import Case, fold, groups_of, unfold
from support.golden_models import build_decoder
from torch import Tensor

from fitcli.tasks.autoregressive.decoding.kv_cache import CachedDecoder
from fitcli.tasks.autoregressive.decoding.sample import FREE, sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.sequences import sequence_groups
from models.checks import ConfigError
from models.decoder import FITDecoder
from models.groups import Groups

COMMITTED = Path(__file__).parents[3] / "data" / "golden"
GOLDEN = sorted(Path(os.environ.get("FIT_GOLDEN", COMMITTED)).glob("fit_ar_*.npz"))
TOKENS = 4


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("given", [0, 1, 2])
def test_each_step_gives_the_logits_of_the_reference_models(path: Path, given: int) -> None:
    case = Case(path)
    ids = case.inputs["tokens"].long()
    model = build_decoder(case.config, case.weights).double().eval()
    expected = unfold(model(fold(ids), groups_of(ids)), len(ids))
    assert_steps_equal(model, groups_of(ids[:1]), ids, None, expected, given)


@given(
    plan=st.sampled_from(["(1)1", "(2)", "(0)1(1)", "(1)1(1)1(1)", "(1)2(0)1(2)", "(2)1(1)2"]),
    classes=st.sampled_from([0, 3]),
    separate=st.booleans(),
    changes=st.sampled_from([{}, {"cross_mlp": True}, {"cross_norm": False}, {"local_attention": False}]),
    order=st.sampled_from(["raster", "snake"]),
)
@settings(max_examples=25, deadline=None)
def test_each_step_gives_the_logits_of_the_whole_model(
    plan: str, classes: int, separate: bool, changes: dict[str, Any], order: Any
) -> None:
    model = conditional(plan=plan, classes=classes, shared_embedding=not separate, **changes)
    groups = sequence_groups(2, 3, order)
    ids, labels, expected = teacher_forced(model, groups, images=2)
    for taken in (0, 3):
        assert_steps_equal(model, groups, ids, labels, expected, taken)


def conditional(classes: int = 0, **changes: Any) -> FITDecoder:
    model: FITDecoder = live(decoder_config(classes=classes, starts=max(classes, 1), **changes))
    return model


def teacher_forced(model: FITDecoder, groups: Groups, images: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Ids of some images [b g n], their labels, and the logits [b g n v] of the model for all of them at once."""
    batch = Groups.join([groups] * images)
    ids, *rest = inputs_for(model.config, batch)
    labels = rest[0] if rest else None
    return unfold(ids, images), labels, unfold(model(ids, batch, labels), images)


def assert_steps_equal(
    model: FITDecoder, groups: Groups, ids: Tensor, labels: Tensor | None, expected: Tensor, taken: int
) -> None:
    """Where the first groups are taken whole, and the others token by token."""
    with torch.inference_mode():
        decoder = CachedDecoder(model, groups, len(ids), labels)
        for group in range(ids.shape[1]):
            if group < taken:
                decoder.take(ids[:, group])
                continue
            for place in range(ids.shape[2]):
                assert decoder.position == (group, place)
                error = (decoder.step(ids[:, group, place]) - expected[:, group, place]).abs().max()
                assert error < 1e-9, (group, place)
        with pytest.raises(ValueError, match=f"all {ids.shape[1]} groups are complete"):
            decoder.step(ids[:, 0, 0])


@pytest.mark.gpu
def test_a_cuda_device_draws_what_the_cpu_draws() -> None:
    model, groups, draws = conditional(classes=3), sequence_groups(2, 3), Draws(seed=2, top_p=0.9)
    first, labels = [VOCABULARY, VOCABULARY + 1], [0, 1]
    expected = sample(model, groups, first, draws, labels)
    assert torch.equal(sample(model.cuda(), groups, first, draws, labels).cpu(), expected)


def test_a_group_that_was_begun_cannot_be_taken_whole() -> None:
    model = conditional()
    decoder = CachedDecoder(model, sequence_groups(1, 2), 1)
    decoder.step(torch.tensor([0]))
    with pytest.raises(ValueError, match="1 tokens of the group"):
        decoder.take(torch.zeros(1, TOKENS, dtype=torch.int64))


def test_the_likeliest_tokens_are_those_of_the_whole_model() -> None:
    """Greedy sampling by the forward pass alone, over the whole sequence for each token."""
    model, groups = conditional(), sequence_groups(2, 2, "snake")
    drawn = sample(model, groups, [VOCABULARY], Draws(temperature=0))[0].flatten()
    known = torch.zeros(4 * TOKENS + 1, dtype=torch.int64)
    known[0] = VOCABULARY
    for place in range(4 * TOKENS):
        known[place + 1] = model(known[:-1].reshape(4, TOKENS), groups).flatten(0, 1)[place].argmax()
    assert torch.equal(drawn, known[1:])


def test_a_sample_does_not_depend_on_the_others() -> None:
    model, groups = conditional(classes=3), sequence_groups(2, 2)
    first, labels, draws = [VOCABULARY + label for label in (0, 2, 1)], [0, 2, 1], Draws(seed=5)
    run_on_all = sample(model, groups, first, draws, labels)
    assert len({tuple(image.flatten().tolist()) for image in run_on_all}) == 3
    for image in (2, 0, 1):
        alone = sample(model, groups, first[image : image + 1], draws, labels[image : image + 1], images=[image])
        assert torch.equal(alone[0], run_on_all[image])
    assert not torch.equal(sample(model, groups, first, Draws(seed=6), labels), run_on_all)


def test_known_tokens_are_kept_and_change_what_follows_them_alone() -> None:
    model, groups, draws = conditional(shared_embedding=False), sequence_groups(2, 2), Draws(seed=1)
    model.embedding.weight.mul_(10)  # So that ids matter more than places.
    free = sample(model, groups, [VOCABULARY], draws)[0]
    known = torch.full((4, TOKENS), FREE)
    known[0], known[1, :2] = free[0], free[1, :2]
    assert torch.equal(sample(model, groups, [VOCABULARY], draws, known=known)[0], free)
    followed = []
    for other in range(VOCABULARY):
        known[1, 1] = other
        advanced: list[int] = []
        drawn = sample(model, groups, [VOCABULARY], draws, known=known, advance=advanced.append)[0]
        assert torch.equal(drawn[known != FREE], known[known != FREE])
        assert sum(advanced) == 4
        followed.append(tuple(drawn[1:].flatten()[2:].tolist()))
    assert len(set(followed)) > 1


def test_known_tokens_must_fit() -> None:
    model, groups = conditional(), sequence_groups(1, 2)
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        sample(model, groups, [0], Draws(), known=torch.full((3, 4), FREE))
    with pytest.raises(ValueError, match=f"{VOCABULARY} are not in"):
        sample(model, groups, [0], Draws(), known=torch.full((2, 4), VOCABULARY))


def test_draws_follow_the_probabilities() -> None:
    logits = torch.randn(1, 7, generator=torch.Generator().manual_seed(0))
    draws, numbers = Draws(temperature=0.7, seed=3), torch.tensor(Draws(seed=3).numbers(0, 0, 20_000))
    drawn = draws.draw(logits.expand(len(numbers), -1), numbers)
    expected = (logits[0].double() / 0.7).softmax(-1)
    # Five standard deviations of a binomial share.
    bound = 5 * (expected * (1 - expected) / len(numbers)).sqrt()
    assert ((torch.bincount(drawn, minlength=7) / len(numbers) - expected).abs() < bound).all()


@given(
    st.lists(st.integers(-8, 8), min_size=1, max_size=9),
    st.integers(1, 10),
    st.sampled_from([0.05, 0.3, 0.5, 0.9, 1.0]),
    st.floats(0.1, 3),
)
def test_top_k_and_top_p_are_their_definitions(scores: list[int], top_k: int, top_p: float, temperature: float) -> None:
    """Written down plainly: rank, keep k, renormalise, keep the fewest that have the probability, renormalise."""
    weights = np.exp(np.array(scores, dtype=np.float64) / temperature)
    chances = weights / weights.sum()
    ranked = sorted(range(len(scores)), key=lambda token: (-chances[token], token))[:top_k]
    mass = sum(chances[token] for token in ranked)
    kept: list[int] = []
    while ranked and sum(chances[token] for token in kept) / mass < top_p - 1e-12:
        kept.append(ranked.pop(0))
    expected = np.zeros(len(scores))
    expected[kept] = chances[kept] / chances[kept].sum()
    found = Draws(temperature=temperature, top_k=top_k, top_p=top_p).probabilities(torch.tensor([scores]).double())
    borderline = ranked and abs(sum(chances[token] for token in kept) / mass - top_p) < 1e-9
    if not borderline or top_p == 1:
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-9)


def test_the_ends_of_the_range_fall_on_tokens_that_have_a_share() -> None:
    logits = torch.tensor([[-torch.inf, 1.0, 2.0, -torch.inf]])
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert Draws().draw(logits.expand(2, -1), ends).tolist() == [1, 2]
    assert Draws(temperature=0).draw(logits.expand(2, -1), ends).tolist() == [2, 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -1}, "-1"),
        ({"top_k": 0}, "0"),
        ({"top_p": 0}, "0"),
        ({"top_p": 1.5}, "1.5"),
        ({"seed": -1}, "-1"),
    ],
)
def test_draws_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Draws(**wrong)
