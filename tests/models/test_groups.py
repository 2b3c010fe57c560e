"""Test that the output for an image does not depend on the rest of the batch, on padding or on groups left out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import CONFIGS, grid, inputs_for, join, live, run
from torch import Tensor

from fitcli.patches.cutting import groups_of
from models.config import ClassifierConfig, DenoiserConfig
from models.groups import Groups

MODELS = {name: live(config) for name, config in CONFIGS.items()}
every_model = pytest.mark.parametrize("name", MODELS)
quick = settings(max_examples=15)


@st.composite
def images(draw: st.DrawFn) -> Groups:
    """Draw the groups of an image of 1 to 12 pixels per side; some may be left out."""
    arrangement = grid(draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    chosen = draw(st.sets(st.sampled_from(list(arrangement.coordinates())), min_size=1))
    return groups_of(arrangement, sorted(chosen))


batches = st.lists(images(), min_size=1, max_size=3)


@pytest.mark.walk(4)
@every_model
@given(parts=batches, seed=st.integers(0, 99))
@quick
def test_an_image_gives_the_same_alone_and_in_any_batch(name: str, parts: list[Groups], seed: int) -> None:
    model, batch = MODELS[name], join(*parts)
    inputs = inputs_for(model.config, batch, seed)
    outputs = run(model, batch, inputs)
    start = 0
    for image, part in enumerate(parts):
        stop = start + len(part.number)
        alone = run(model, part, _cut_inputs(model.config, inputs, start, stop, image))
        for value, expected in zip(_cut_outputs(model.config, outputs, start, stop, image), alone, strict=True):
            assert _distance(value, expected, part) < 1e-9
        start = stop


@pytest.mark.walk(4)
@every_model
@given(parts=batches, content=st.sampled_from([float("nan"), float("inf"), 1e30, -3.0]))
@quick
def test_the_content_of_padding_does_not_matter(name: str, parts: list[Groups], content: float) -> None:
    model, batch = MODELS[name], join(*parts)
    inputs = inputs_for(model.config, batch)
    expected = run(model, batch, inputs)
    if batch.mask is not None:
        hidden = ~batch.mask if inputs[0].ndim == 2 else ~batch.mask[..., None]
        inputs[0] = inputs[0].masked_fill(hidden, content if inputs[0].is_floating_point() else 0)
    for value, reference in zip(run(model, batch, inputs), expected, strict=True):
        assert torch.isfinite(value).all()
        assert _distance(value, reference, batch) == 0


def test_gradients_do_not_depend_on_the_content_of_padding() -> None:
    model = live(CONFIGS["encoder"]).requires_grad_(True)
    groups = groups_of(grid(7, 5))
    assert groups.mask is not None
    patches = inputs_for(model.config, groups)[0].masked_fill(~groups.mask[..., None], float("nan"))
    tokens, latents = run(model, groups, [patches])
    (tokens[groups.mask].square().sum() + latents.square().sum()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@given(height=st.integers(9, 16), width=st.integers(9, 16), data=st.data())
@quick
def test_groups_left_out_are_simply_absent(height: int, width: int, data: st.DataObject) -> None:
    """An arrangement with empty, hidden slots for these groups gives the others the same output."""
    model, arrangement = MODELS["encoder"], grid(height, width)
    everything = groups_of(arrangement)
    kept = data.draw(st.lists(st.booleans(), min_size=arrangement.count, max_size=arrangement.count).filter(any))
    chosen = [place for place, keep in zip(arrangement.coordinates(), kept, strict=True) if keep]
    inputs = inputs_for(model.config, everything)[0][torch.tensor(kept)]
    left = groups_of(arrangement, chosen)
    assert torch.equal(left.number, everything.number[torch.tensor(kept)])
    spaced = left._replace(slot=left.number, longest=arrangement.count)
    for value, expected in zip(run(model, left, [inputs]), run(model, spaced, [inputs]), strict=True):
        assert _distance(value, expected, left) < 1e-9


def test_an_image_without_any_group_has_scores_and_gradients() -> None:
    model = live(CONFIGS["classifier"]).requires_grad_(True)
    full, empty = groups_of(grid(8, 8)), groups_of(grid(8, 8), [])
    inputs = inputs_for(model.config, full)
    logits = model(inputs[0], join(full, empty)).logits
    assert torch.allclose(logits[:1], model(inputs[0], full).logits, atol=1e-9)
    assert torch.allclose(logits[1:], model(inputs[0][:0], empty).logits, atol=1e-9)
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@given(parts=batches)
def test_scatter_is_the_inverse_of_arrange(parts: list[Groups]) -> None:
    groups = join(*parts)
    values = torch.arange(1.0, len(groups.number) + 1)[:, None].expand(-1, 3)
    arranged = groups.arrange(values)
    assert arranged.shape == (len(parts), max(len(part.number) for part in parts), 3)
    assert torch.equal(groups.scatter(arranged), values)
    present = groups.present()
    assert torch.equal(arranged[..., 0] != 0, torch.ones_like(arranged[..., 0]).bool() if present is None else present)
    start = 0
    for image, part in enumerate(parts):
        count = len(part.number)
        assert torch.equal(arranged[image, :count], values[start : start + count])
        start += count


@given(parts=batches)
def test_joining_keeps_every_part_and_its_order(parts: list[Groups]) -> None:
    groups = join(*parts)
    groups.check(4)
    assert groups.images == len(parts)
    assert groups.counts() == [len(part.number) for part in parts]
    assert torch.equal(groups.coordinates, torch.cat([part.coordinates for part in parts]))
    masks = [torch.ones(len(part.number), 4).bool() if part.mask is None else part.mask for part in parts]
    assert torch.equal(
        torch.ones(len(groups.number), 4).bool() if groups.mask is None else groups.mask, torch.cat(masks)
    )
    nested = join(join(*parts[:1]), *parts[1:]) if len(parts) > 1 else groups
    for value, expected in zip(nested, groups, strict=True):
        assert torch.equal(value, expected) if isinstance(value, Tensor) else value == expected


@given(parts=batches)
def test_shifting_gives_each_group_the_values_of_the_one_before(parts: list[Groups]) -> None:
    groups = join(*parts)
    values = torch.arange(1.0, len(groups.number) + 1)
    expected, image_of_group = [], groups.image_of_group().tolist()
    for index, image in enumerate(image_of_group):
        follows = index > 0 and image_of_group[index - 1] == image
        expected.append(float(values[index - 1]) if follows else 0.0)
    assert groups.shift(values).tolist() == expected


@given(parts=batches)
def test_only_real_tokens_are_counted(parts: list[Groups]) -> None:
    expected = sum(len(part.number) * 4 if part.mask is None else int(part.mask.sum()) for part in parts)
    assert int(join(*parts).count_real_tokens(4)) == expected


def test_joining_joined_batches_of_equal_images_needs_no_slots() -> None:
    assert join(Groups.of_grid(1, 2, 2), Groups.of_grid(2, 1, 4)).slot is None


WHOLE = Groups.of_grid(images=2, rows=2, columns=2)
BROKEN = [
    (WHOLE._replace(coordinates=WHOLE.coordinates[:-1]), "8 groups need coordinates"),
    (WHOLE._replace(images=3), "3 images of 4 groups are not a list of 8"),
    (WHOLE._replace(slot=torch.arange(7)), "8 groups need 8 slots"),
    (WHOLE._replace(mask=torch.ones(5, 4).bool()), r"8 groups .* mask \[5, 4\]"),
]


@pytest.mark.parametrize(("groups", "message"), BROKEN)
def test_groups_that_contradict_themselves_are_refused(groups: Groups, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        groups.check()
    with pytest.raises(ValueError, match=message):
        Groups.join([WHOLE, groups])


def test_no_groups_at_all_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="no groups"):
        Groups.join([])


@every_model
def test_inputs_that_are_not_of_these_groups_are_refused(name: str) -> None:
    model = MODELS[name]
    inputs = inputs_for(model.config, WHOLE)
    for wrong in (inputs[0][:1], inputs[0][:, :1]):
        with pytest.raises(ValueError, match="8 groups of 4 tokens"):
            run(model, WHOLE, [wrong, *inputs[1:]])
    with pytest.raises(ValueError, match=r"mask \[8, 5\]"):
        run(model, WHOLE._replace(mask=torch.ones(8, 5).bool()), inputs)


def _cut_inputs(config: Any, inputs: list[Tensor], start: int, stop: int, image: int) -> list[Tensor]:
    per_group = 2 if isinstance(config, DenoiserConfig) else 1
    return [x[start:stop] for x in inputs[:per_group]] + [x[image : image + 1] for x in inputs[per_group:]]


def _cut_outputs(config: Any, outputs: list[Tensor], start: int, stop: int, image: int) -> list[Tensor]:
    if isinstance(config, ClassifierConfig):
        return [outputs[0][start:stop], outputs[1][image : image + 1]]
    return [x[start:stop] for x in outputs]


def _distance(value: Tensor, expected: Tensor, groups: Groups) -> float:
    """Return the largest difference outside of padding, whose tokens are arbitrary."""
    difference = (value - expected).abs()
    if groups.mask is not None and value.shape[:2] == groups.mask.shape:
        difference = difference[groups.mask]
    return float(difference.max())
