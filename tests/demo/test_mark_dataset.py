"""The data set of marks: images, their boxes and splits, as the task reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fitcli.annotations.objects.object_survey import survey_objects
from fitcli.data.dataset import load_dataset
from fitcli.demo import mark_dataset
from fitcli.demo.mark_dataset import make_demo
from fitcli.demo.mark_scenes import KINDS
from fitcli.images.open import open_image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six small scenes, two of the test, and one of 300 pixels."""
    for name, value in (("SCENES", 6), ("TEST_SCENES", 2), ("SIDE", 160), ("LARGE_SIDE", 300), ("HELD_OUT", 3)):
        monkeypatch.setattr(mark_dataset, name, value)
    assert make_demo(tmp_path / "data") == 9
    return tmp_path / "data"


def test_it_is_a_data_set_of_boxes(folder: Path) -> None:
    dataset = load_dataset(folder / "marks.csv", "objects")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (4, 2, 3)
    found = survey_objects([(sample.path, sample.target) for sample in (*dataset.train, *dataset.validation)])
    assert set(found.names) <= set(KINDS)
    assert 7 < found.side < 36
    formats = Counter(sample.path.suffix for sample in (*dataset.train, *dataset.validation))
    assert formats == {".png": 3, ".tif": 3}
    with open_image(folder / "large.tif") as image:
        assert image.info.size == (300, 300)


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    make_demo(tmp_path / "again")
    assert (tmp_path / "again/marks.csv").read_bytes() == (folder / "marks.csv").read_bytes()
    make_demo(tmp_path / "other", seed=1)
    assert (tmp_path / "other/marks.csv").read_bytes() != (folder / "marks.csv").read_bytes()
