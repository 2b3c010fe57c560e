"""The pass over a sample image: the same on the whole and in handfuls, and of a model of typical size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fitcli.memory.samples import SampleImage
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.dense.dense_sample import DenseSample
from models.build import build
from models.config import DenseConfig
from models.groups import Groups
from models.presets import dense_preset

CONFIG = dense_preset("debug", 3, 3)


def test_few_values_count_as_the_typical_number() -> None:
    sample = DenseSample("any", 5, 7, lambda values, config: None)
    assert [sample.typical_config(replace(CONFIG, outputs=n)).outputs for n in (1, 5, 7, 8)] == [5, 5, 5, 8]


@pytest.mark.parametrize("handful", [None, 1, 4])
def test_every_group_is_given_to_the_head_once(handful: int | None) -> None:
    model, seen = build(CONFIG, seed=1).eval(), list[torch.Tensor]()
    groups = Groups.of_grid(1, 2, 3)
    pixels = torch.randint(256, (6, CONFIG.tokens, CONFIG.values), generator=torch.Generator().manual_seed(0))
    image = SampleImage(inputs=pixels.to(torch.uint8), groups=groups, device=torch.device("cpu"))

    def watch(values: torch.Tensor, config: DenseConfig) -> None:
        seen.append(values)

    sample = DenseSample("watching", 3, 3, watch)
    with torch.inference_mode():
        sample.sample_pass(model, image, None if handful is None else Streaming(handful=handful))
    whole = torch.cat(seen)
    assert whole.shape == (6, CONFIG.tokens, CONFIG.cells**2, 3)
    seen.clear()
    with torch.inference_mode():
        sample.sample_pass(model, image, None)
    torch.testing.assert_close(whole, torch.cat(seen), atol=1e-4, rtol=1e-4)
