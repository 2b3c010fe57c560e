"""Packing, shapes and their inverses against masks, token by token."""

from __future__ import annotations

import pytest
import torch

from models.real_tokens import WHOLE_GROUPS, RealTokens

MASKS = {
    "corner": [[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]],
    "one shape": [[1, 0, 1, 0], [1, 0, 1, 0]],
    "one number of tokens in different places": [[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]],
    "one group": [[0, 0, 0, 1]],
    "every number of tokens": [[1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0], [0, 1, 1, 1]],
}


@pytest.mark.parametrize("name", MASKS)
def test_packing_is_selection_by_the_mask(name: str) -> None:
    mask = torch.tensor(MASKS[name], dtype=torch.bool)
    real = RealTokens.of(mask)
    values = torch.arange(float(mask.numel())).reshape(*mask.shape, 1).expand(-1, -1, 3)
    packed = real.pack(values)
    assert sorted(packed[..., 0].flatten().tolist()) == values[mask][:, 0].tolist()
    assert torch.equal(real.unpack(packed), values * mask[..., None])
    assert torch.equal(real.join(real.split(packed)), packed)


@pytest.mark.parametrize("name", MASKS)
def test_each_shape_is_a_dense_batch_of_whole_groups(name: str) -> None:
    mask = torch.tensor(MASKS[name], dtype=torch.bool)
    real, groups, tokens = RealTokens.of(mask), torch.arange(len(mask)), torch.arange(mask.shape[1])
    number = (groups[:, None] * 100 + tokens)[..., None]
    seen = []
    for part, of_shape in zip(real.split(real.pack(number)), real.select(groups), strict=True):
        assert (part // 100 == of_shape[:, None, None]).all(), "rows are groups"
        assert (part.diff(dim=1) > 0).all(), "tokens keep their order"
        seen += of_shape.tolist()
    assert sorted(seen) == groups.tolist()
    assert len(real.shapes) == len(set(mask.sum(dim=1).tolist())), "one batch per number of tokens"
    assert torch.equal(real.merge(real.select(groups)), groups)


@pytest.mark.parametrize("name", MASKS)
def test_values_per_group_and_codes_per_token_fit_packed_values(name: str) -> None:
    mask = torch.tensor(MASKS[name], dtype=torch.bool)
    real = RealTokens.of(mask)
    group = torch.arange(1.0, len(mask) + 1)[:, None, None]
    code = torch.arange(1.0, mask.shape[1] + 1)[:, None]
    ones = torch.ones(*mask.shape, 1)
    expected = group * 10 + code
    packed = real.pack(ones) * real.per_token(group) * 10 + real.codes(code)
    assert torch.equal(packed, real.pack(expected.expand_as(ones)))


@pytest.mark.parametrize("name", [*MASKS, "whole"])
def test_empty_shapes_change_nothing(name: str) -> None:
    mask = torch.tensor(MASKS.get(name, [[1, 1, 1, 1]] * 3), dtype=torch.bool)
    real, groups = RealTokens.of(mask), torch.arange(len(mask))
    more = real.with_shapes(6)
    values = torch.rand(*mask.shape, 2)
    packed = real.pack(values)
    parts, rows = more.split(packed), more.select(groups)
    assert len(parts) == len(rows) == 6
    assert [len(part) for part in parts] == [len(row) for row in rows]
    assert torch.equal(more.join(parts), packed)
    assert torch.equal(more.merge(rows), groups)
    assert more.with_shapes(2).empty == max(0, 2 - max(1, len(real.shapes)))


def test_groups_without_padding_are_left_as_they_are() -> None:
    values, table = torch.rand(3, 4, 2), torch.rand(4, 2)
    for mask in (None, torch.ones(3, 4, dtype=torch.bool), torch.ones(0, 4, dtype=torch.bool)):
        real = RealTokens.of(mask)
        assert real is WHOLE_GROUPS
        for same in (real.pack, real.unpack, real.per_token):
            assert same(values) is values
        assert real.join(real.split(values)) is values
        assert real.codes(table) is table


def test_gradients_of_padding_are_zero() -> None:
    real = RealTokens.of(torch.tensor(MASKS["corner"], dtype=torch.bool))
    values = torch.rand(6, 4, 2, requires_grad=True)
    (real.pack(values) ** 2).sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, 2 * real.unpack(real.pack(values.detach())))


def test_a_group_without_a_real_token_is_refused() -> None:
    with pytest.raises(ValueError, match="group 1 of 2 has no real token"):
        RealTokens.of(torch.tensor([[True], [False]]))
