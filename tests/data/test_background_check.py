"""Before training there is a warning if leaving out background leaves almost nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.pictures import save

from fitcli.data.background_check import check_background
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.place import BackgroundRule, Layout, PlaceRules
from fitcli.data.read_item import Reading
from fitcli.data.survey import survey_images
from fitcli.images.read_as import AS_STORED, ReadAs
from fitcli.tasks.class_targets import ClassLabelReader


def images(folder: Path, varied: int, plain: int, side: int = 32) -> Dataset:
    """Images of noise, and images whose noise is a hundred times weaker, in 16 bits."""
    rng, samples = np.random.default_rng(0), []
    for number in range(varied + plain):
        pixels = rng.integers(0, 1000 if number < varied else 10, (side, side, 1)).astype(np.uint16)
        samples.append(Sample(save(folder / f"{number}.tif", pixels), 0))
    return Dataset(classes=(), train=tuple(samples), validation=(), fingerprint="")


def warnings_of(dataset: Dataset, threshold: float | None = 0.1, how: ReadAs = AS_STORED) -> tuple[str, ...]:
    preprocessing = survey_images(dataset, 0, how=how).preprocessing
    rule = None if threshold is None else BackgroundRule(threshold, preprocessing)
    reading = Reading(
        layout=Layout(patch=4, group=2), rules=PlaceRules(background=rule), preprocessing=preprocessing,
        targets=ClassLabelReader(),
    )  # fmt: skip
    return check_background(dataset, reading)


def test_images_that_are_almost_all_background(tmp_path: Path) -> None:
    (text,) = warnings_of(images(tmp_path, varied=2, plain=4))
    assert "leaves out almost all of 4 of 6 training images" in text
    assert "--background-threshold below 0.1" in text


def test_nothing_is_said_without_reason(tmp_path: Path) -> None:
    assert warnings_of(images(tmp_path / "half", varied=3, plain=3)) == ()
    assert warnings_of(images(tmp_path / "all", varied=0, plain=3), threshold=None) == ()
    assert warnings_of(images(tmp_path / "one group", varied=1, plain=4, side=8)) == ()


def test_groups_are_those_of_the_level_that_is_read(tmp_path: Path) -> None:
    """Stripes are no background at full resolution, and grey at level 1."""
    pixels = np.tile(np.array([0, 200], np.uint8), (64, 32))[:, :, None]
    pixels[:8, :8] = np.kron([[0, 200], [200, 0]], np.ones((4, 4)))[:, :, None]
    paths = [save(tmp_path / f"{n}.tif", pixels, levels=2, compression="deflate", chunk=16) for n in range(3)]
    dataset = Dataset(classes=(), train=tuple(Sample(path, 0) for path in paths), validation=(), fingerprint="")
    assert warnings_of(dataset) == ()
    assert len(warnings_of(dataset, how=ReadAs(level=1))) == 1


def test_unreadable_images_are_left_to_the_training(tmp_path: Path) -> None:
    dataset = images(tmp_path, varied=2, plain=3)
    preprocessing = survey_images(dataset, 0).preprocessing
    for sample in dataset.train[2:]:
        sample.path.write_bytes(b"")
    rules = PlaceRules(background=BackgroundRule(0.1, preprocessing))
    layout = Layout(patch=4, group=2)
    reading = Reading(layout=layout, rules=rules, preprocessing=preprocessing, targets=ClassLabelReader())
    assert check_background(dataset, reading) == ()
