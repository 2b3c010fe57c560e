"""Draws follow the probabilities that the settings define."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from models.checks import ConfigError


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
