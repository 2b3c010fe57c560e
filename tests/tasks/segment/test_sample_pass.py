"""The pass over a sample image: of a model of typical size."""

from __future__ import annotations

from dataclasses import replace

import torch

from fitcli.tasks.segment.sample_pass import SEGMENTING, TYPICAL_CLASSES
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


def test_it_keeps_the_number_of_a_class() -> None:
    assert SEGMENTING.name == "segmenting"
    SEGMENTING.finish(torch.zeros(2, 3, 4, TYPICAL_CLASSES), CONFIG)
