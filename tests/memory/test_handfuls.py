"""Usual handfuls: at least one group, and the same for what is planned, measured and run."""

from __future__ import annotations

from dataclasses import replace

from fitcli.memory.handfuls import usual_handful
from models.presets import classifier_preset


def test_handfuls() -> None:
    config = classifier_preset("tiny", 3, 2)
    assert config.tokens == 256
    assert [usual_handful(config, "step", device) for device in ("cpu", "cuda")] == [8, 32]
    assert [usual_handful(config, "pass", device) for device in ("cpu", "cuda")] == [8, 256]
    assert usual_handful(replace(config, tokens=4096), "step", "cpu") == 1
