"""The shift of a noise schedule follows the size, and impossible diffusions are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.generators import model_config

from fitcli.errors import CheckpointError
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.diffusion.config import DiffusionConfig, Enlarging, diffusion_of, shift_for
from models.checks import ConfigError
from models.presets import classifier_preset

COLORS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)


def test_the_shift_follows_the_size() -> None:
    # 2 log(64 / 256), and no shift for images that are small already.
    assert shift_for((256, 256)) == pytest.approx(-2.7725887)
    assert shift_for((128, 512)) == pytest.approx(-2.7725887)
    assert shift_for((64, 64)) == shift_for((28, 28)) == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": float("nan")}, "shift must lie within 20.0 of 0, not nan"),
        ({"patch": 0}, r"patch and size must be 1 \.\.\. 2147483647 pixels, not 0 and \(8, 8\)"),
        ({"size": (8, True)}, "patch and size must be"),
        ({"schedule": 5}, "schedule must be text and clip true or false, not 5 and True"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"class_dropout": 1.5}, r"class_dropout must lie in \[0, 1\], not 1\.5"),
    ],
)
def test_impossible_diffusions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DiffusionConfig(**{"patch": 4, "size": (8, 8)} | changes)


def test_a_document_holds_the_diffusion() -> None:
    config = DiffusionConfig(patch=4, size=(32, 48), prediction="x", shift=-1.0)
    document = config.to_document()
    assert document["diffusion"]["shift"] == -1.0
    assert DiffusionConfig.from_document(document) == config


def test_a_document_of_an_enlarging_run_says_how() -> None:
    config = DiffusionConfig(patch=4, size=(32, 48), enlarging=Enlarging(factor=4, noise=0.05, deviation=0.2))
    document = json.loads(json.dumps(config.to_document()))
    assert document["diffusion"]["enlarging"] == {"factor": 4, "noise": 0.05, "deviation": 0.2}
    assert DiffusionConfig.from_document(document) == config
    plain = DiffusionConfig(patch=4, size=(32, 48))
    assert "enlarging" not in plain.to_document()["diffusion"], "as in earlier versions"
    assert "enlarging" not in plain.identity()
    assert plain.identity() != config.identity()


@pytest.mark.parametrize("changes", [{"factor": 1}, {"factor": 17}, {"noise": 2.0}, {"deviation": 0.0}])
def test_impossible_enlargings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not"):
        Enlarging(**{"factor": 4} | changes)


def test_only_a_diffusion_model_has_a_diffusion() -> None:
    details = DiffusionConfig(patch=4, size=(32, 48))
    config = RunConfig(model=model_config(), preprocessing=COLORS, classes=("cat", "dog"), details=details)
    assert diffusion_of(config) is details
    classifier = classifier_preset("debug", 3, 2)
    other = RunConfig(model=classifier, preprocessing=COLORS, classes=("cat", "dog"), details=ClassifyDetails())
    with pytest.raises(CheckpointError, match="task 'classify' has no diffusion"):
        diffusion_of(other)
