"""Values get the colours of their scale, and nothing where there is no value."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.classify.color_scale import CONTRIBUTION
from fitcli.view.value_scale import VIRIDIS, RangeScale, scale_legend


def test_the_ends_of_a_range_have_the_ends_of_the_colours() -> None:
    color, alpha = RangeScale(10, 20).shades(np.array([[5, 10, 15, 20, 99, np.nan]], np.float32))
    assert color[0, 0].tolist() == color[0, 1].tolist() == VIRIDIS[0].tolist()
    assert color[0, 2].tolist() == VIRIDIS[2].tolist()
    assert color[0, 3].tolist() == color[0, 4].tolist() == VIRIDIS[-1].tolist()
    assert alpha.tolist() == [[1, 1, 1, 1, 1, 0]]


def test_a_legend_names_values_at_their_places() -> None:
    legend = scale_legend(RangeScale(0, 255, "of 255"), "probability")
    assert [tick["text"] for tick in legend["ticks"]] == ["0", "127.5", "255"]
    assert [tick["place"] for tick in legend["ticks"]] == [0, 0.5, 1]
    assert (legend["title"], legend["unit"], legend["colors"][0]) == ("probability", "of 255", [68, 1, 84])


def test_a_scale_of_heat_maps_is_one() -> None:
    legend = scale_legend(CONTRIBUTION, "Contribution to tumor")
    assert legend["ticks"][3] == {"place": 0.5, "text": "0", "note": ""}
    assert legend["ticks"][0]["note"] == "against"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (1e9, 1e9 + 4), (-3e38, -3e38 * (1 - 1e-12)), (0, 1e-320), (-1.5e308, 1.5e308), (0, 1e40)]
)
def test_any_range_of_any_size_has_places_and_a_legend(low: float, high: float) -> None:
    scale = RangeScale(low, high)
    places = scale.position(np.array([low, low / 2 + high / 2, high, np.inf, np.nan]))
    np.testing.assert_allclose(places, [0, 0.5, 1, 1, np.nan], atol=1e-3)
    ticks = scale_legend(scale, "")["ticks"]
    assert [tick["place"] for tick in ticks] == pytest.approx([0, 0.5, 1], abs=1e-3)
    assert len({tick["text"] for tick in ticks}) == 3
