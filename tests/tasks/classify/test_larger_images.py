"""The sizes that images seem to have in training."""

from __future__ import annotations

import pytest
import torch

from fitcli.tasks.classify.larger_images import draw_enlargement

SHOWINGS = [(epoch, image) for epoch in range(20, 40) for image in range(50)]


def test_every_doubling_up_to_the_square_of_the_sides_is_equally_likely() -> None:
    doublings = draw_enlargement(SHOWINGS, 16, epochs=40, seed=0).log2()
    assert doublings.min() >= 0
    assert doublings.max() <= 8
    counts = torch.histc(doublings, 4, 0, 8) / len(SHOWINGS)
    assert (counts - 0.25).abs().max() < 0.05
    assert torch.equal(draw_enlargement(SHOWINGS, 1, epochs=40, seed=0), torch.ones(len(SHOWINGS)))


def test_a_showing_always_draws_the_same() -> None:
    drawn = draw_enlargement(SHOWINGS, 16, epochs=40, seed=3)
    assert torch.equal(draw_enlargement(SHOWINGS[::-1], 16, epochs=40, seed=3), drawn.flip(0))
    assert not torch.equal(draw_enlargement(SHOWINGS, 16, epochs=40, seed=4), drawn)
    assert len(drawn.unique()) > 990


def test_the_largest_image_grows_over_the_first_half_of_the_run() -> None:
    def largest(epoch: int, epochs: float) -> float:
        showings = [(epoch, image) for image in range(300)]
        return float(draw_enlargement(showings, 16, epochs, seed=0).log2().max())

    found = [largest(epoch, 8) for epoch in range(8)]
    assert found == pytest.approx([1, 3, 5, 7, 8, 8, 8, 8], rel=0.05)
    assert largest(0, 1) == pytest.approx(8, rel=0.05), "a run of one epoch meets all of them"
