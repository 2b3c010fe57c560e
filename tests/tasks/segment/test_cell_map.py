"""Test that the array of classes has the values of the map that `fit segment` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.command_line import Fit
from support.halves import half_and_half, trained_on_halves
from support.pictures import colored, save

from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run
from fitcli.tasks.segment.cell_map import cell_map
from fitcli.tasks.segment.task import TASK as SEGMENT


@pytest.fixture(scope="module")
def run(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_on_halves(fit, tmp_path_factory.mktemp("halves"))


def test_cells_are_the_pixels_of_the_map_and_numbers_are_those_of_the_classes(
    run: Path, fit: Fit, tmp_path: Path
) -> None:
    runtime = choose_runtime("cpu", "fp32")
    path, _ = half_and_half(tmp_path / "image.png", 9)
    with open_image(path) as image:
        cells = cell_map(load_run(run, runtime, SEGMENT), image, runtime)
    assert cells.shape == (24, 32)
    assert (cells[:, :12] == 0).all()
    assert (cells[:, 20:] == 1).all()
    options = ["--checkpoint", run, "--out", tmp_path / "map.png", "--device", "cpu", "--precision", "fp32"]
    assert fit("segment", path, *options).exit_code == 0
    with open_image(tmp_path / "map.png", indices=True) as written:
        pixels = written.read(Window(0, 0, 48, 64))[..., 0]
    np.testing.assert_array_equal(cells.repeat(2, axis=0).repeat(2, axis=1), pixels)


def test_groups_that_are_left_out_have_no_class(run: Path, tmp_path: Path) -> None:
    runtime = choose_runtime("cpu", "fp32")
    constant = np.full((48, 128, 3), 60, np.uint8)
    path = save(tmp_path / "image.png", np.concatenate([colored((48, 128), (40, 60, 200), 1), constant], axis=1))
    with open_image(path) as image:
        cells = cell_map(load_run(run, runtime, SEGMENT), image, runtime, EncodingSettings(background=0.02))
    assert cells.shape == (24, 128)
    assert (cells[:, :64] < 2).all()
    assert (cells[:, 64:] == 255).all()
