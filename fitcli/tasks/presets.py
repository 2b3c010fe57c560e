"""The presets of `--preset`, by kind of model, with those that other packages add. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fitcli.errors import FitError
from fitcli.plugins.registry import PluginError, Registry
from fitcli.runs.config import ImpossibleModel
from fitcli.runs.option import flag, without_values
from models.checks import ConfigError
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


@contextmanager
def chosen_preset(group: str, name: str, changes: Mapping[str, Any]) -> Iterator[None]:
    """Find a preset, and name it in the errors of what is made of it.

    Args:
        group: Group of its entry points.
        name: Its name.
        changes: Sizes that a user chose instead of those of the preset.

    Raises:
        FitError: There is no such preset, the package that has it is broken, or no model can have these sizes.
    """
    try:
        PRESETS_BY_GROUP[group].find(name)
    except PluginError as error:
        raise FitError(f"--preset {name}: {error.fault}") from None
    try:
        yield
    except (ConfigError, ImpossibleModel) as error:
        options = "".join(f" {flag(each)} {value}" for each, value in changes.items())
        raise FitError(f"--preset {name}{options}: {without_values(str(error), changes.values())}") from None
