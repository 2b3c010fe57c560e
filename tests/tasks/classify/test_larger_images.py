"""The sizes that images seem to have in training."""

from __future__ import annotations

import torch

from fitcli.tasks.classify.larger_images import draw_enlargement

SHOWINGS = [(epoch, image) for epoch in range(20) for image in range(50)]


def test_every_doubling_up_to_the_square_of_the_sides_is_equally_likely() -> None:
    doublings = draw_enlargement(SHOWINGS, 16, seed=0).log2()
    assert doublings.min() >= 0
    assert doublings.max() <= 8
    counts = torch.histc(doublings, 4, 0, 8) / len(SHOWINGS)
    assert (counts - 0.25).abs().max() < 0.05
    assert torch.equal(draw_enlargement(SHOWINGS, 1, seed=0), torch.ones(len(SHOWINGS)))


def test_a_showing_always_draws_the_same() -> None:
    drawn = draw_enlargement(SHOWINGS, 16, seed=3)
    assert torch.equal(draw_enlargement(SHOWINGS[::-1], 16, seed=3), drawn.flip(0))
    assert not torch.equal(draw_enlargement(SHOWINGS, 16, seed=4), drawn)
    assert len(drawn.unique()) > 990
