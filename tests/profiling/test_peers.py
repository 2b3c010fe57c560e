"""The names and sizes of the models that FIT is compared with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fitcli.errors import FitError
from fitcli.memory.estimate import Training, parameter_count
from fitcli.profiling.peers import parse_peers, vit_sizes
from fitcli.tasks.registry import find_task
from models.presets import classifier_preset

WORK = Training(task=find_task("classify"), config=classifier_preset("tiny", 3, 10), groups=4)


def test_names() -> None:
    assert parse_peers(None, "classify", WORK.config) == parse_peers(" , ", "classify", WORK.config) == []
    assert parse_peers("swin, vit", "classify", WORK.config) == ["swin", "vit"]
    with pytest.raises(FitError, match=r"^--compare takes vit and swin, not 'resnet'; correct the name$"):
        parse_peers("vit,resnet", "classify", WORK.config)
    with pytest.raises(FitError, match=r"^--compare is for encoders, not for diffusion; leave it out$"):
        parse_peers("vit", "diffusion", find_task("diffusion").preset("tiny").config)


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_a_vit_has_about_as_many_parameters(preset: str) -> None:
    config = classifier_preset(preset, 3, 100)
    width, depth = vit_sizes(replace(WORK, config=config))
    assert width == config.latent_width
    assert 12 * width**2 * depth == pytest.approx(
        parameter_count(config), rel=0.5 * 12 * width**2 / parameter_count(config)
    )
