"""The pass over a sample image: the same on the whole and in handfuls, and of a model of typical size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fitcli.memory.samples import SampleImage
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.segment import sample_pass
from fitcli.tasks.segment.sample_pass import SEGMENTING, TYPICAL_CLASSES
from models.build import build
from models.dense import by_cell
from models.groups import Groups
from models.presets import dense_preset

CONFIG = dense_preset("debug", 3, 3)


def test_few_classes_count_as_the_typical_number() -> None:
    for classes in (1, 2, TYPICAL_CLASSES):
        assert SEGMENTING.typical_config(replace(CONFIG, outputs=classes)).outputs == TYPICAL_CLASSES
    many = replace(CONFIG, outputs=TYPICAL_CLASSES + 1)
    assert SEGMENTING.typical_config(many) == many


def test_the_input_is_bytes_of_pixels() -> None:
    given = SEGMENTING.step_input(CONFIG)
    assert given.shape == (CONFIG.tokens, CONFIG.patch**2 * 3)
    assert given.dtype == torch.uint8


@pytest.mark.parametrize("handful", [None, 1, 4])
def test_every_group_is_given_to_the_head_once(handful: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = build(CONFIG, seed=1).eval(), list[torch.Tensor]()
    groups = Groups.of_grid(1, 2, 3)
    pixels = torch.randint(256, (6, CONFIG.tokens, CONFIG.values), generator=torch.Generator().manual_seed(0))
    image = SampleImage(inputs=pixels.to(torch.uint8), groups=groups, device=torch.device("cpu"))

    def watched(values: torch.Tensor, outputs: int) -> torch.Tensor:
        seen.append(by_cell(values, outputs))
        return seen[-1]

    monkeypatch.setattr(sample_pass, "by_cell", watched)
    with torch.inference_mode():
        SEGMENTING.sample_pass(model, image, None if handful is None else Streaming(handful=handful))
    whole = torch.cat(seen)
    assert whole.shape == (6, CONFIG.tokens, CONFIG.cells**2, 3)
    seen.clear()
    with torch.inference_mode():
        SEGMENTING.sample_pass(model, image, None)
    torch.testing.assert_close(whole, torch.cat(seen), atol=1e-4, rtol=1e-4)
