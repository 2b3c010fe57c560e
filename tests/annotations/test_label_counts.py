"""Labels of one image, counted in bounded time and memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zarr
from support.pictures import endless_image, save
from support.polygons import collection, feature, write

from fitcli.annotations import label_counts
from fitcli.annotations.class_positions import POSITIONS
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_counts import MOST_PIXELS, count_label_image, count_polygons, survey_windows
from fitcli.annotations.labels import LabelRules
from fitcli.images.read_as import AS_STORED, ReadAs
from fitcli.images.window import Window


@pytest.mark.parametrize("size", [(1, 1), (300, 5000), (5000, 300), (8192, 8192), (1, 2**26)])
def test_a_small_image_is_read_whole(size: tuple[int, int]) -> None:
    windows = survey_windows(size)
    assert sum(window.area for window in windows) == size[0] * size[1]
    assert windows[0].top == 0
    assert all(after.top == before.bottom for before, after in itertools.pairwise(windows))


@pytest.mark.parametrize("size", [(8193, 8192), (100_000, 100_000), (30, 2**30), (2**30, 30), (2**40, 2**40)])
@pytest.mark.parametrize("step", [1.0, 4.0, 100.0])
def test_a_large_image_is_read_in_part(size: tuple[int, int], step: float) -> None:
    windows = survey_windows(size, (step, step))
    read = sum(window.area for window in windows) * step**2
    assert MOST_PIXELS / 3 < read <= 1.6 * MOST_PIXELS
    assert len(set(windows)) == len(windows)
    assert all(window == window.clip(*size) and window.area for window in windows)
    # They lie all over the image.
    middle = sum(w.top + w.height / 2 for w in windows) / len(windows), sum(w.left for w in windows) / len(windows)
    assert all(abs(place - side / 2) <= max(0.2 * side, 300) for place, side in zip(middle, size, strict=True))


def test_counts_at_the_pixels_of_the_image(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 3, (50, 70, 1), np.uint8)
    image = save(tmp_path / "image.tif", np.zeros((100, 140, 3), np.uint8), 0.5, chunk=32)
    labels = save(tmp_path / "labels.png", values)
    counts = count_label_image(image, labels, AS_STORED)
    assert (counts.share, counts.factor, counts.nodata) == (1, 2, None)
    assert counts.pixels == Counter({value: 4 * int((values == value).sum()) for value in range(3)})
    assert count_label_image(image, labels, ReadAs(level=1)).pixels.total() == 50 * 70
    assert count_label_image(image, labels, ReadAs(mpp=2.0)).pixels.total() == 25 * 35


def test_a_part_counts_for_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((400, 400, 1), np.uint8)
    values[:, 300:] = 7
    image = save(tmp_path / "image.png", values)
    labels = save(tmp_path / "labels.png", values)
    monkeypatch.setattr(label_counts, "MOST_PIXELS", 20_000)
    monkeypatch.setattr(label_counts, "SQUARE_SIDE", 16)
    counts = count_label_image(image, labels, AS_STORED)
    assert 0.05 < counts.share < 0.2
    assert counts.pixels.total() == pytest.approx(160_000, abs=2)
    assert counts.pixels[7] == pytest.approx(40_000, rel=0.15)


def test_an_endless_label_image(tmp_path: Path) -> None:
    image, labels = endless_image(tmp_path / "image.zarr"), endless_image(tmp_path / "labels.zarr")
    tracemalloc.start()
    counts = count_label_image(image, labels, AS_STORED, positions=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(counts.pixels) == [9]
    assert counts.pixels[9] == pytest.approx(2**80, rel=0.01)
    assert peak < 100 << 20


def test_counting_ends_at_too_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_counts, "STRIP_PIXELS", 1000)
    monkeypatch.setattr(label_counts, "MOST_VALUES", 1500)
    array = zarr.create_array(str(tmp_path / "x.zarr"), shape=(100, 100), dtype="u4", chunks=(10, 100))
    array[:] = np.arange(10_000).reshape(100, 100)
    counts = count_label_image(tmp_path / "x.zarr", tmp_path / "x.zarr", AS_STORED)
    assert len(counts.pixels) == 2000


def test_windows_lie_on_whole_squares() -> None:
    assert all(w.top % 256 == w.left % 256 == 0 for w in survey_windows((100_000, 50_000)))
    assert survey_windows((2, 3)) == [Window(0, 0, 2, 3)]


def test_positions_are_in_pixels_of_the_image_as_it_is_read(tmp_path: Path) -> None:
    values = np.zeros((100, 140, 1), np.uint8)
    values[30:34, 80:90] = 1
    image = save(tmp_path / "image.tif", np.zeros((200, 280, 3), np.uint8), 0.5, chunk=32)
    labels = save(tmp_path / "labels.png", values)
    polygon = [(160.0, 60.0), (180.0, 60.0), (180.0, 68.0), (160.0, 68.0)]
    polygons = write(tmp_path / "labels.geojson", collection(feature([polygon], "b")))
    table, rules = ClassTable(("a", "b"), (0, 1)), LabelRules("a")
    for read_as, factor in ((AS_STORED, 1), (ReadAs(level=1), 2), (ReadAs(mpp=2.0), 4)):
        one = count_label_image(image, labels, read_as, positions=True)
        other = count_polygons(image, polygons, table, rules, read_as, positions=True)
        assert one.pixels == other.pixels
        for positions in (one.positions, other.positions):
            assert sorted(positions) == [0, 1]
            rows, columns = positions[1].T
            assert rows.min() >= 60 // factor
            assert rows.max() < 68 / factor
            assert columns.min() >= 160 // factor
            assert columns.max() < 180 / factor
            assert (positions[0] < np.array([200, 280]) / factor).all()
    assert count_label_image(image, labels, AS_STORED).positions == {}


def test_positions_of_a_part_lie_in_the_squares_that_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.repeat(np.arange(0, 4, dtype=np.uint8), 100)[None, :, None].repeat(400, 0)
    path = save(tmp_path / "labels.png", values)
    monkeypatch.setattr(label_counts, "MOST_PIXELS", 40_000)
    monkeypatch.setattr(label_counts, "SQUARE_SIDE", 16)
    found = count_label_image(path, path, AS_STORED, positions=True).positions
    assert sorted(found) == [0, 1, 2, 3]
    for value, positions in found.items():
        assert set(values[positions[:, 0], positions[:, 1], 0].tolist()) == {value}
        assert len(positions) == POSITIONS


def test_positions_do_not_depend_on_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "labels.png", np.random.default_rng(0).integers(0, 3, (90, 70, 1), np.uint8))
    whole = count_label_image(path, path, AS_STORED, positions=True).positions
    monkeypatch.setattr(label_counts, "STRIP_PIXELS", 500)
    strips = count_label_image(path, path, AS_STORED, positions=True).positions
    assert {value: positions.tolist() for value, positions in whole.items()} == {
        value: positions.tolist() for value, positions in strips.items()
    }
