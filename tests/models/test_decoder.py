"""Test that a decoder predicts nothing from later tokens, across groups and segments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import VOCABULARY, decoder_config, grid, inputs_for, join, live

from fitcli.patches.cutting import groups_of
from models.checks import ConfigError
from models.groups import Groups

plans = st.builds(
    lambda body, last: "".join(f"({local}){mixing}" for local, mixing in body) + last,
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2)), max_size=2),
    st.sampled_from(["(0)", "(1)", "(2)1", "(1)"]),
)


@given(
    plan=plans,
    latents=st.integers(1, 3),
    positions=st.sampled_from(["coordinates", "learned"]),
    place=st.integers(0, 23),
    size=st.sampled_from([(8, 12), (5, 11)]),
    step=st.integers(1, VOCABULARY - 1),
)
@settings(max_examples=40)
def test_a_token_never_changes_logits_before_it(
    plan: str, latents: int, positions: str, place: int, size: tuple[int, int], step: int
) -> None:
    groups = groups_of(grid(*size))
    model = live(decoder_config(plan=plan, latents=latents, latent_positions=positions, groups=6))
    ids = inputs_for(model.config, groups, seed=place)[0]
    changed = ids.flatten().clone()
    changed[place] = (changed[place] + step) % VOCABULARY
    before, after = (model(x, groups).flatten(0, 1) for x in (ids, changed.reshape(ids.shape)))
    assert torch.allclose(before[:place], after[:place], rtol=0, atol=1e-12)
    if groups.mask is None or groups.mask.flatten()[place]:
        assert not torch.equal(before[place], after[place])


def test_later_groups_depend_on_earlier_ones() -> None:
    groups = Groups.of_grid(images=1, rows=1, columns=3)
    model = live(decoder_config(plan="(1)1(1)1(1)"))
    ids = inputs_for(model.config, groups)[0]
    changed = ids.clone()
    changed[0, -1] = (changed[0, -1] + 1) % VOCABULARY
    difference = (model(ids, groups) - model(changed, groups)).abs().amax(dim=(1, 2))
    assert (difference > 1e-6).all()


def test_images_of_a_batch_do_not_see_each_other() -> None:
    groups = join(groups_of(grid(7, 5)), groups_of(grid(4, 8)), groups_of(grid(8, 8)))
    model = live(decoder_config())
    ids = inputs_for(model.config, groups)[0]
    changed = ids.clone()
    changed[4:6] = (changed[4:6] + 1) % VOCABULARY
    difference = (model(ids, groups) - model(changed, groups)).abs().amax(dim=(1, 2))
    assert (difference[[0, 1, 2, 3, 6, 7, 8, 9]] == 0).all()
    assert (difference[4:6] > 0).all()


def test_a_class_reaches_all_groups_but_the_first_which_has_its_start() -> None:
    groups = Groups.of_grid(images=2, rows=1, columns=3)
    model = live(decoder_config(plan="(1)1(1)", starts=3, classes=3))
    ids = torch.randint(VOCABULARY, (6, 4), generator=torch.Generator().manual_seed(0))
    before = model(ids, groups, torch.tensor([0, 1]))
    difference = (before - model(ids, groups, torch.tensor([0, 2]))).abs().amax(dim=(1, 2))
    assert (difference[:4] == 0).all()
    assert (difference[4:] > 1e-6).all()
    started = ids.clone()
    started[3, 0] = VOCABULARY + 2
    assert not torch.equal(model(started, groups, torch.tensor([0, 1]))[3], before[3])


def test_starts_are_seen_and_never_predicted() -> None:
    groups = Groups.of_grid(images=1, rows=1, columns=2)
    for tied in (True, False):
        model = live(decoder_config(starts=1, shared_embedding=tied))
        ids = inputs_for(model.config, groups)[0]
        ids[0, 0] = VOCABULARY
        assert model(ids, groups).shape == (2, 4, VOCABULARY)


def test_labels_are_for_decoders_of_classes() -> None:
    groups, ids = Groups.of_grid(images=1, rows=1, columns=1), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="0 classes"):
        live(decoder_config())(ids, groups, torch.tensor([0]))
    with pytest.raises(ValueError, match="3 classes"):
        live(decoder_config(classes=3))(ids, groups)
    impossible = [
        ({"starts": 2}, "not 2"),
        ({"classes": 3, "starts": 2}, r"one per class \(3\)"),
        ({"classes": -1}, "-1"),
    ]
    for changes, message in impossible:
        with pytest.raises(ConfigError, match=message):
            decoder_config(**changes)


def test_tied_and_separate_embeddings() -> None:
    shared, separate = (decoder_config(shared_embedding=tied, output_bias=False) for tied in (True, False))
    extra = VOCABULARY * shared.token_width
    assert _parameters(separate) - _parameters(shared) == extra
    assert _parameters(decoder_config()) - _parameters(shared) == VOCABULARY


def test_a_decoder_must_be_causal() -> None:
    with pytest.raises(ConfigError, match="'groups'"):
        decoder_config(causal="groups")


def _parameters(config: object) -> int:
    return sum(parameter.numel() for parameter in live(config).parameters())
