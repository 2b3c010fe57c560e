"""Tables of predictions, and the memory of heat maps."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import FitError
from fitcli.images.base import ImageInfo
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.tasks.classify.classify_files import check_csv, drawing_bytes, write_csv
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.heatmap_files import OF_EVIDENCE, HeatmapChoice, HeatmapFile
from models.presets import classifier_preset


def test_a_table_does_not_replace_an_image(tmp_path: Path) -> None:
    check_csv(None, [])
    check_csv(tmp_path / "out.csv", [tmp_path / "a.png"])
    with pytest.raises(FitError, match="is a folder"):
        check_csv(tmp_path, [])
    with pytest.raises(FitError, match="would replace"):
        check_csv(tmp_path / "a.png", [tmp_path / "a.png"])


@pytest.mark.parametrize("several", [False, True])
def test_columns_of_a_table(tmp_path: Path, several: bool) -> None:
    targets = (Target("kind", "single-label", ("cat", "dog")), Target("marks", "multi-label", ("a", "b")))
    model = classifier_preset("debug", 3, 2)
    config = RunConfig(
        model=replace(model, classes=4, targets=(2, 2)) if several else model,
        preprocessing=Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3),
        classes=("cat", "dog"),
        details=ClassifyDetails(all_targets=targets if several else ()),
    )
    write_csv(tmp_path / "out.csv", [["a.png", "dog", "0.1", "0.9"]], config)
    header, row = csv.reader((tmp_path / "out.csv").open())
    expected = ["label:kind", "labels:marks", "kind:cat", "kind:dog", "marks:a", "marks:b"]
    assert header == ["path", *(expected if several else ["label", "cat", "dog"])]
    assert row == ["a.png", "dog", "0.1", "0.9"]


def test_the_memory_of_heat_maps_holds_the_values_of_all_classes() -> None:
    info, patch = ImageInfo(height=8000, width=8000, channels=3, dtype=np.dtype("u1")), 16
    shown = HeatmapChoice(classes=tuple(map(str, range(20))))
    pictures = [HeatmapFile(Path(f"{name}.png"), (name,)) for name in shown.classes]
    assert drawing_bytes([], info, patch, shown) == 0
    evidence = drawing_bytes([HeatmapFile(Path("a.png"))], info, patch, OF_EVIDENCE)
    assert drawing_bytes(pictures, info, patch, shown) == evidence + 19 * 4 * 500**2
    layer = drawing_bytes([HeatmapFile(Path("a.tif"), shown.classes)], info, patch, shown)
    assert layer >= 2 * 20 * 4 * 500**2 + 3 * 20 * 4 * 16 * 8000
