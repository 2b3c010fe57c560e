"""The presets of `--preset`, by kind of model, with those that other packages add. Never imports torch."""

from __future__ import annotations

from typing import Any

from fitcli.plugins.registry import Registry
from models.presets import DECODERS, DENOISERS, PRESETS, Preset


def _registry(group: str, presets: dict[str, Preset]) -> Registry[Preset]:
    def is_preset(part: Any) -> bool:
        return isinstance(part, Preset)

    return Registry("preset", group, presets, is_preset, "a models.presets.Preset")


PRESETS_BY_GROUP = {
    group: _registry(group, presets)
    for group, presets in (("fit.presets", PRESETS), ("fit.denoisers", DENOISERS), ("fit.decoders", DECODERS))
}
"""Presets of encoders, denoisers and decoders, by the group of their entry points (`TaskOptions.preset_group`)."""

ENCODER_PRESETS = PRESETS_BY_GROUP["fit.presets"]
DENOISER_PRESETS = PRESETS_BY_GROUP["fit.denoisers"]
DECODER_PRESETS = PRESETS_BY_GROUP["fit.decoders"]
