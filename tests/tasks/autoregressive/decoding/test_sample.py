"""Samples keep what is given, and depend on their own numbers only."""

from __future__ import annotations

import pytest
import torch
from support.batches import VOCABULARY
from support.decoders import decoder

from fitcli.tasks.autoregressive.decoding.sample import FREE, sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.sequences import sequence_groups

TOKENS = 4


@pytest.mark.gpu
def test_a_cuda_device_draws_what_the_cpu_draws() -> None:
    model, groups, draws = decoder(classes=3), sequence_groups(2, 3), Draws(seed=2, top_p=0.9)
    first, labels = [VOCABULARY, VOCABULARY + 1], [0, 1]
    expected = sample(model, groups, first, draws, labels)
    assert torch.equal(sample(model.cuda(), groups, first, draws, labels).cpu(), expected)


def test_the_likeliest_tokens_are_those_of_the_whole_model() -> None:
    """Greedy sampling by the forward pass alone, over the whole sequence for each token."""
    model, groups = decoder(), sequence_groups(2, 2, "snake")
    drawn = sample(model, groups, [VOCABULARY], Draws(temperature=0))[0].flatten()
    known = torch.zeros(4 * TOKENS + 1, dtype=torch.int64)
    known[0] = VOCABULARY
    for place in range(4 * TOKENS):
        known[place + 1] = model(known[:-1].reshape(4, TOKENS), groups).flatten(0, 1)[place].argmax()
    assert torch.equal(drawn, known[1:])


def test_a_sample_does_not_depend_on_the_others() -> None:
    model, groups = decoder(classes=3), sequence_groups(2, 2)
    first, labels, draws = [VOCABULARY + label for label in (0, 2, 1)], [0, 2, 1], Draws(seed=5)
    together = sample(model, groups, first, draws, labels)
    assert len({tuple(image.flatten().tolist()) for image in together}) == 3
    for image in (2, 0, 1):
        alone = sample(model, groups, first[image : image + 1], draws, labels[image : image + 1], images=[image])
        assert torch.equal(alone[0], together[image])
    assert not torch.equal(sample(model, groups, first, Draws(seed=6), labels), together)


def test_known_tokens_are_kept_and_change_what_follows_them_alone() -> None:
    model, groups, draws = decoder(shared_embedding=False), sequence_groups(2, 2), Draws(seed=1)
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
    model, groups = decoder(), sequence_groups(1, 2)
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        sample(model, groups, [0], Draws(), known=torch.full((3, 4), FREE))
    with pytest.raises(ValueError, match=f"{VOCABULARY} are not in"):
        sample(model, groups, [0], Draws(), known=torch.full((2, 4), VOCABULARY))
