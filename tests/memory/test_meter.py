"""The meter: bytes as multiples of sizes, gradients told from the rest, parts of a model, and parts in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from fitcli.memory.dry_model import dry_model, without_memory
from fitcli.memory.meter import PURPOSES, Meter
from fitcli.memory.sizes import HANDFUL, IMAGE_GROUPS, IMAGES, Size, dry_sizes
from models.build import build
from models.causal_strips import STRIP
from models.groups import Groups
from models.presets import classifier_preset, decoder_preset

SIZES = dry_sizes(IMAGES, handfuls=True)
GROUPS = IMAGES * IMAGE_GROUPS


def bytes_of(line: np.ndarray, purpose: str) -> dict[str, int]:
    row = line[PURPOSES.index(purpose)]
    return {Size(number).name: int(row[number]) for number in row.nonzero()[0]}


def test_bytes_are_multiples_of_sizes() -> None:
    with FakeTensorMode():
        with Meter(nn.Linear(1, 1), SIZES) as meter:
            first = torch.empty(GROUPS, 3)
            second = torch.empty(HANDFUL, 5)
            third = torch.empty(7)
        assert bytes_of(meter.lines[-1], "stem and head") == {"GROUPS": 12, "HANDFUL": 20, "ONE": 28}
        with meter:
            del first, second, third
            last = torch.empty(IMAGES, 2)
        assert bytes_of(meter.lines[-1], "stem and head") == {"IMAGES": 8}
        del last


def test_gradients_of_weights_are_told_from_the_rest() -> None:
    with FakeTensorMode():
        layer = nn.Linear(4, 8)
        with Meter(layer, SIZES) as meter:
            for _ in range(2):
                layer(torch.empty(HANDFUL, 4)).sum().backward()
            torch.empty(1)
        assert bytes_of(meter.lines[-1], "gradients") == {"ONE": 4 * (4 * 8 + 8)}
        assert meter.flops["ends", "product"][Size.HANDFUL] == 2 * 2 * 2 * 4 * 8, "two forward and two backward"


def test_parts_in_between_count_when_they_are_done() -> None:
    assert SIZES.parts is not None
    with FakeTensorMode():
        with Meter(nn.Linear(1, 1), SIZES) as meter:
            kept = [torch.empty(HANDFUL, 2)]
            between = torch.empty(SIZES.parts[1], 2)
            weights = torch.empty(9)
            big = between * 2 + 1
            del big
            assert len(meter.lines) == 1, "nothing counts while a part in between is computed"
            kept += [between, torch.empty(HANDFUL, 2)]
        assert bytes_of(meter.lines[-1], "stem and head") == {"HANDFUL": 16, "BETWEEN": 8, "HANDFULS_BETWEEN": 36}
        del weights


@pytest.mark.parametrize("kind", ["product", "attention"])
def test_operations_of_the_parts_of_a_model(kind: str) -> None:
    config, sizes = classifier_preset("tiny", 3, 2), dry_sizes(1, handfuls=False)
    model = build(config, "meta")
    with FakeTensorMode():
        without_memory(model)
        groups = Groups.of_grid(1, IMAGE_GROUPS, 1)
        with Meter(model, sizes) as meter:
            model(torch.zeros(IMAGE_GROUPS, config.tokens, config.values), groups).logits.sum().backward()
    local, mix = sum(local for local, _ in config.segments), sum(mix for _, mix in config.segments)
    n, m, c, d, ratio = config.tokens, config.latents, config.token_width, config.latent_width, config.mlp_ratio
    if kind == "attention":
        # 4 operations per score and value, two and a half times as many backward.
        assert meter.flops["local", kind][Size.GROUPS] == 3.5 * local * 4 * n * n * c
        assert meter.flops["global", kind][Size.SQUARED_GROUPS] == 3.5 * mix * 4 * m * m * d
    else:
        # Multiplication and addition, forward, and backward to inputs and to weights.
        assert meter.flops["local", kind][Size.GROUPS] == 3 * 2 * local * n * (4 + 2 * ratio) * c * c
        assert meter.flops["global", kind][Size.GROUPS] == 3 * 2 * mix * m * (4 + 2 * ratio) * d * d


def test_queries_of_causal_strips_see_half_of_the_keys_and_half_a_strip() -> None:
    config, sizes = decoder_preset("tiny", 1, 0, 256, 0)[0], dry_sizes(1, handfuls=False)
    model = build(config, "meta")
    with dry_model(model, "fp32", sizes) as meter:
        groups = Groups.of_grid(1, IMAGE_GROUPS, 1)
        model(torch.zeros(IMAGE_GROUPS, config.tokens, dtype=torch.int64), groups).sum().backward()
    mix, m, d = sum(mix for _, mix in config.segments), config.latents, config.latent_width
    flops = meter.flops["global", "attention"]
    assert flops[Size.SQUARED_GROUPS] == 3.5 * mix * 4 * m * m * d / 2
    assert flops[Size.GROUPS] == 3.5 * mix * 4 * m * STRIP * d / 2
