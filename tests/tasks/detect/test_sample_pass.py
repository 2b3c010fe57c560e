"""The pass over a sample image, whole and streamed."""

from __future__ import annotations

from dataclasses import replace

import torch
from support.detect_models import checkpoint

from fitcli.memory.samples import SampleImage
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.detect.config import SIDES
from fitcli.tasks.detect.sample_pass import DETECTING, MOST_TYPICAL_CLASSES, TYPICAL_CLASSES
from models.build import build
from models.groups import Groups


def test_it_runs() -> None:
    config = checkpoint().model.config
    model, groups = build(config).eval().requires_grad_(False), Groups.of_grid(1, 2, 2)
    step = DETECTING.step_input(config)
    inputs = torch.zeros(4, *step.shape, dtype=step.dtype)
    image = SampleImage(inputs=inputs, groups=groups, device=torch.device("cpu"), keep_reads=False)
    with torch.inference_mode():
        DETECTING.sample_pass(model, image, None)
        DETECTING.sample_pass(model, image, Streaming(handful=3))


def test_few_classes_count_as_usual() -> None:
    config = checkpoint().model.config
    assert DETECTING.typical_config(config).outputs == TYPICAL_CLASSES + SIDES
    many = replace(config, outputs=MOST_TYPICAL_CLASSES + SIDES + 1)
    assert DETECTING.typical_config(many) == many
