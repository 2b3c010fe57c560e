"""Channels of pictures, which have a single plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import save
from support.reader_contract import Case, ReaderContract

from fitcli.errors import UnreadableAs
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice

PIXELS = np.random.default_rng(0).integers(0, 255, (60, 70, 3)).astype(np.uint8)


class TestChosenChannels(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        choice = PlaneChoice(channels="2,0", z="max", t=0, series="0")
        return Case(save(tmp_path / "x.png", PIXELS), [PIXELS[:, :, [2, 0]]], choice)


@pytest.mark.parametrize("choice", [{"series": "1"}, {"z": "1"}, {"t": 1}, {"channels": "3"}, {"channels": "red"}])
def test_what_a_picture_does_not_have(tmp_path: Path, choice: dict[str, Any]) -> None:
    path = save(tmp_path / "x.png", PIXELS)
    with pytest.raises(UnreadableAs, match=r"x\.png: has no (series|focal plane|time point|channel) "):
        open_image(path, choice=PlaneChoice(**choice))


def test_only_the_first_three_channels_in_order_are_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", PIXELS)
    for channels, color in (("0,1,2", True), ("2,1,0", False), ("0", False)):
        with open_image(path, choice=PlaneChoice(channels=channels)) as reader:
            assert reader.info.color is color
