"""A value has the same colour in every picture."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE, HIGHEST, ColorScale

SCALES = pytest.mark.parametrize("scale", [EVIDENCE, CONTRIBUTION], ids=["evidence", "contribution"])


def at(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_places_are_logarithms() -> None:
    np.testing.assert_allclose(EVIDENCE.position(at(0, 1, 10, 100, HIGHEST)), [0, 0.1, 0.35, 0.67, 1], atol=5e-3)
    signed = CONTRIBUTION.position(at(-HIGHEST, -10, 0, 10, HIGHEST))
    np.testing.assert_allclose(signed, [0, 0.326, 0.5, 0.674, 1], atol=2e-3)


@SCALES
def test_values_beyond_the_ends_have_the_colours_of_the_ends(scale: ColorScale) -> None:
    assert scale.position(at(HIGHEST, 1e9, np.inf)).tolist() == [1, 1, 1]
    assert scale.position(at(scale.range[0] * 99)).tolist() == [0]


@SCALES
def test_colours_rise_with_the_value_and_differ(scale: ColorScale) -> None:
    places = scale.position(np.linspace(*scale.range, 41, dtype=np.float32))
    assert (np.diff(places) > 0).all()
    drawn = scale.blend(np.full((1, len(scale.ticks), 1), 128, np.float32), at(*scale.ticks)[None])[0]
    distances = np.abs(drawn[:, None] - drawn[None]).max(-1) + np.eye(len(drawn)) * 255
    assert distances.min() > 5


def test_stronger_evidence_is_lighter_on_dark_ground() -> None:
    drawn = EVIDENCE.blend(np.zeros((1, 6, 1), np.float32), at(0, 1, 10, 100, 500, HIGHEST)[None])
    assert (np.diff(drawn.sum(-1)) > 0).all()


@SCALES
def test_places_without_a_value_are_hatched_grey(scale: ColorScale) -> None:
    drawn = scale.blend(np.full((20, 20, 1), 100, np.float32), np.full((20, 20), np.nan, np.float32))
    assert (np.ptp(drawn, axis=-1) == 0).all()
    assert sorted(np.unique(drawn).tolist()) == [75, 100]
