"""Every heat map is shown in the colours of its kind."""

from __future__ import annotations

from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE
from fitcli.tasks.classify.value_scales import VALUE_SCALES
from fitcli.tasks.registry import value_scales


def test_the_colours_of_heat_maps_are_found() -> None:
    assert VALUE_SCALES["Evidence"] is EVIDENCE
    assert VALUE_SCALES["Contribution"] is CONTRIBUTION
    assert value_scales() == VALUE_SCALES
