"""Polygons as an image of class numbers."""

from __future__ import annotations

import gzip
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.feature_files import CELLS, TABLE, UTM
from support.feature_files import write as write_features
from support.polygons import collection, feature, rules, square, table, write

from fitcli.annotations.features import FORMATS
from fitcli.annotations.labels import open_labels
from fitcli.annotations.polygon_labels import IGNORED, PolygonLabels, polygon_names
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.georeference import GeoReference
from fitcli.images.rescaled import Rescaled
from fitcli.images.window import Window

CLASSES = table("background", "tumor", "stroma")
ALL = Window(0, 0, 1000, 1000)


def image(height: int = 20, width: int = 30) -> ArrayReader:
    return ArrayReader(np.zeros((height, width, 3), np.uint8), mpp=0.5, path=Path("image.tif"))


def labels(
    folder: Path, *features: Any, names: Any = CLASSES, elsewhere: str | None = None, of: Any = None
) -> PolygonLabels:
    path = write(folder / "a.geojson", collection(*features))
    return PolygonLabels(path, of or image(), names, rules(elsewhere))


def test_pixels_have_the_number_of_their_class(tmp_path: Path) -> None:
    reader = labels(tmp_path, feature(square(2, 3, 10), "stroma"), feature(square(5, 5, 2), "tumor"))
    expected = np.full((20, 30), IGNORED)
    expected[3:13, 2:12] = 2
    expected[5:7, 5:7] = 1
    pixels = reader.read(ALL)
    assert (reader.info.size, reader.info.channels, reader.info.dtype, reader.info.mpp) == ((20, 30), 1, np.uint8, 0.5)
    assert (pixels.shape, pixels.dtype) == ((20, 30, 1), np.uint8)
    assert (pixels[:, :, 0] == expected).all()
    assert (reader.read(Window(4, 5, 3, 9))[:, :, 0] == expected[4:7, 5:14]).all()
    assert reader.read(Window(50, 50, 3, 3)).shape == (0, 0, 1)
    assert reader.notes == ()


@pytest.mark.parametrize("geo", [None, UTM], ids=["pixels", "earth"])
def test_a_map_that_was_written_is_read_back(tmp_path: Path, geo: GeoReference | None) -> None:
    """As GeoJSON and as GeoPackage, in pixels and in world coordinates: every pixel has the class of its cell."""
    of, expected = image(*CELLS.shape), np.where(CELLS == 3, IGNORED, CELLS)
    of.info = replace(of.info, geo=geo)
    for suffix in FORMATS:
        path = write_features(tmp_path / f"map{suffix}", geo)
        reader = open_labels(path, of, table(*TABLE.names), rules())
        np.testing.assert_array_equal(reader.read(ALL)[:, :, 0], expected, err_msg=suffix)


def test_regions_say_what_is_annotated(tmp_path: Path) -> None:
    """They lie below all other polygons, wherever they stand in the file."""
    for name in ("Region", "Region*", "region 2"):
        reader = labels(tmp_path, feature(square(5, 5, 2), "tumor"), feature(square(2, 2, 10), name))
        pixels = reader.read(ALL)[:, :, 0]
        assert [pixels[0, 0], pixels[3, 3], pixels[5, 5]] == [IGNORED, 0, 1]


def test_what_no_polygon_covers_is_the_class_elsewhere(tmp_path: Path) -> None:
    shapes = feature(square(5, 5, 2), "tumor"), feature(square(12, 5, 2), "Ignore*")
    pixels = labels(tmp_path, *shapes, elsewhere="stroma").read(ALL)[:, :, 0]
    assert [pixels[0, 0], pixels[5, 5], pixels[5, 12]] == [2, 1, IGNORED]
    assert (labels(tmp_path, elsewhere="background").read(ALL) == 0).all()
    assert (labels(tmp_path).read(ALL) == IGNORED).all()


def test_names_of_the_table_are_classes_whatever_they_look_like(tmp_path: Path) -> None:
    shapes = (
        feature(square(2, 2, 4), "Region"),
        feature(square(10, 2, 4), "Immune*"),
        feature(square(2, 10, 4), "regional"),
    )
    pixels = labels(tmp_path, *shapes, names=table("Region", "Immune*", "regional")).read(ALL)[:, :, 0]
    assert [pixels[3, 3], pixels[3, 11], pixels[11, 3]] == [0, 1, 2]


def test_names_are_equal_in_both_forms_of_unicode(tmp_path: Path) -> None:
    reader = labels(tmp_path, feature(square(2, 2, 4), "u\u0308ber"), names=table("\u00fcber"))
    assert reader.read(ALL)[3, 3] == 0


def test_polygons_without_a_class_are_objects_if_there_is_no_other(tmp_path: Path) -> None:
    shapes = feature(square(5, 5, 2)), feature(square(2, 2, 10), "Region")
    reader = labels(tmp_path, *shapes, names=table("background", "object"))
    assert reader.read(ALL)[[3, 5], [3, 5], 0].tolist() == [0, 1]
    assert polygon_names(reader.path) == {"object": 1}
    with pytest.raises(ImageError, match="1 polygon without a class beside classified ones"):
        labels(tmp_path, feature(square(5, 5, 2)), feature(square(2, 2, 10), "tumor"))


REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "unknown": (
        [feature(square(1, 1, 2), name) for name in ("necrosis", "tumor", "necrosis", "fat")],
        {},
        r"unknown classes: 'necrosis' \(2\), 'fat' \(1\); the classes are 'background', 'tumor', 'stroma'",
    ),
    "many": ([feature(square(1, 1, 2), f"c{n}") for n in range(90)], {}, r"'c4' \(1\) and 85 more"),
    "elsewhere": ([feature(square(1, 1, 2), "tumor")], {"elsewhere": "sky"}, "'sky' elsewhere: there is no such class"),
    "region": ([feature(square(1, 1, 2), "Region")], {"names": table("a", "b")}, "no class is called background"),
    "outside": ([feature(square(100, 1, 2), "tumor")], {}, "no polygon on image.tif: .* x 100 to 102 .* x 0 to 30"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_labels_that_cannot_be_used_are_one_line(tmp_path: Path, kind: str) -> None:
    features, options, reason = REFUSED[kind]
    with pytest.raises(ImageError, match=reason) as caught:
        labels(tmp_path, *features, **options)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_is_in_the_notes(tmp_path: Path) -> None:
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": None}
    reader = labels(tmp_path, point, feature(square(1, 1, 2), "tumor"), feature(square(99, 1, 2), "tumor"))
    assert reader.notes == ("1 point or line left out", "1 polygon outside of image.tif left out")


@pytest.mark.parametrize("factor", [0.5, 2, 2.5])
def test_labels_follow_the_scale_of_the_image(tmp_path: Path, factor: float) -> None:
    opened = Rescaled(image(100, 150), 0, factor)
    reader = labels(tmp_path, feature(square(20, 10, 50), "tumor"), of=opened)
    assert reader.info.size == opened.info.size
    tumor = np.argwhere(reader.read(ALL)[:, :, 0] == 1)
    assert (tumor.min(axis=0) * factor).tolist() == [10, 20]
    assert ((tumor.max(axis=0) + 1) * factor).tolist() == [60, 70]


def test_threads_pickles_and_windows_read_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = ["tumor", "stroma", "Region*", "Ignore*"]
    shapes = [feature(square(*random.uniform(-5, 95, 2), random.uniform(1, 9)), names[n % 4]) for n in range(3000)]
    reader = labels(tmp_path, *shapes, of=image(100, 100))
    whole = reader.read(ALL)
    assert set(np.unique(whole)) == {0, 1, 2, IGNORED}
    windows = [Window(top, left, 17, 31) for top in range(0, 100, 17) for left in range(0, 100, 31)]
    copy = pickle.loads(pickle.dumps(reader))
    with ThreadPoolExecutor(4) as pool:
        for window, pixels in zip(windows, pool.map(copy.read, windows), strict=True):
            assert (pixels == whole[window.slices()]).all()


def test_a_closed_reader_reads_nothing(tmp_path: Path) -> None:
    reader = labels(tmp_path, feature(square(1, 1, 2), "tumor"))
    with reader, pytest.raises(ImageError, match="no level 1"):
        reader.read(ALL, 1)
    with pytest.raises(ImageError, match="has been closed"):
        reader.read(ALL)


def test_names_are_counted_without_an_image(tmp_path: Path) -> None:
    shapes = [feature(square(1, 1, 2), name) for name in ("b", "a", "b", "Region*", "Ignore*")]
    path = tmp_path / "a.geojson.gz"
    path.write_bytes(gzip.compress(json.dumps(collection(*shapes)).encode()))
    assert polygon_names(path) == {"b": 2, "a": 1}
