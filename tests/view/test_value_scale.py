"""Values get the colours of their scale, and nothing where there is no value."""

from __future__ import annotations

import numpy as np

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
