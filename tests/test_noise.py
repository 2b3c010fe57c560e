"""Noise depends only on its address, and is standard normal."""

from __future__ import annotations

import math
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fitcli import noise
from fitcli.images import decode_pool
from fitcli.noise import LARGEST, Address, draw_noise, generator, group_noise

SHAPE = (4, 12)


@given(st.permutations(range(9)), st.integers(1, 9))
def test_any_order_and_any_slices_give_the_same_bits(order: list[int], handful: int) -> None:
    whole = group_noise(7, "start", range(9), SHAPE, image=3, step=5)
    parts = [
        group_noise(7, "start", order[i : i + handful], SHAPE, image=3, step=5) for i in range(0, len(order), handful)
    ]
    assert torch.equal(torch.cat(parts), whole[list(order)])


def test_groups_of_several_images_have_the_values_of_each() -> None:
    addresses = [Address(3, 0, 5), Address(3, 1, 5), Address(4, 0, 5), Address(4, 2, 6)]
    each = [group_noise(7, "start", [group], SHAPE, image=image, step=step) for image, group, step in addresses]
    assert torch.equal(draw_noise(7, "start", addresses, SHAPE), torch.cat(each))
    assert draw_noise(7, "start", [], SHAPE).shape == (0, *SHAPE)


def test_groups_of_several_images_are_drawn_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two draws waits until the other has begun."""
    both = Barrier(2, timeout=240)

    def waiting(*address: Any) -> np.random.Generator:
        both.wait()
        return generator(*address)

    expected = draw_noise(7, "start", [Address(1, 0, 0), Address(2, 0, 0)], SHAPE)
    monkeypatch.setattr(noise, "generator", waiting)
    monkeypatch.setattr(decode_pool, "usable_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(draw_noise(7, "start", [Address(1, 0, 0), Address(2, 0, 0)], SHAPE), expected)


def test_every_part_of_an_address_matters() -> None:
    addresses = [
        (7, "start", 1, 2, 3), (8, "start", 1, 2, 3), (7, "step", 1, 2, 3), (7, "start", 2, 2, 3),
        (7, "start", 1, 3, 3), (7, "start", 1, 2, 4), (7, "start", 2, 1, 3), (LARGEST, "start", 1, 2, 3),
    ]  # fmt: skip
    drawn = [generator(*address).standard_normal(1000) for address in addresses]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
            assert not np.isin(one, other).any()


def test_it_is_standard_normal() -> None:
    values = group_noise(0, "start", range(64), (64, 48)).flatten().double().sort().values
    count = len(values)
    assert abs(values.mean()) < 4 / math.sqrt(count)
    assert abs(values.var() - 1) < 4 * math.sqrt(2 / count)
    # Kolmogorov-Smirnov: the distance exceeds 1.95 / sqrt(n) once in a thousand.
    steps = torch.arange(count + 1, dtype=torch.float64) / count
    exact = torch.special.ndtr(values)
    assert max((exact - steps[:-1]).max(), (steps[1:] - exact).max()) < 1.95 / math.sqrt(count)
    assert 4 < values.abs().max() < 6


@pytest.mark.parametrize("other", [{"groups": range(1, 257)}, {"step": 1}, {"image": 1}])
def test_neighbours_are_not_correlated(other: dict[str, object]) -> None:
    here = group_noise(1, "start", range(256), (16, 12))
    there = group_noise(**{"seed": 1, "stream": "start", "groups": range(256), "shape": (16, 12)} | other)  # type: ignore[arg-type]
    correlation = torch.corrcoef(torch.stack([here.flatten(), there.flatten()]))[0, 1]
    assert abs(correlation) < 4 / math.sqrt(here.numel())


def test_values_are_those_of_philox_itself() -> None:
    # A second implementation from the paper: the bits of an address must not depend on a version of numpy.
    address = generator(5, "", 0, 9, 2)
    expected = _philox([1, 9, 2, 0], [5, int(address.bit_generator.state["state"]["key"][1])])
    assert address.bit_generator.random_raw(4).tolist() == expected


def _philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 (Salmon et al. 2011, section 4.3)."""
    mask = 2**64 - 1
    a, b, c, d = counter
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (high >> 64) ^ b ^ key[0], high & mask, (low >> 64) ^ d ^ key[1], low & mask
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    return [a, b, c, d]


@pytest.mark.parametrize("name", ["seed", "image", "group", "step"])
@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_out_of_range_are_refused(name: str, number: int) -> None:
    with pytest.raises(ValueError, match=name):
        generator(**{"seed": 0, "stream": "start", name: number})  # type: ignore[arg-type]
