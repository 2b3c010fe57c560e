"""Maps, probabilities and polygons hold what the strips say, pixel by pixel; after an error there is no file."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.class_maps import blobs, drawn
from support.feature_files import UTM

from fitcli.annotations.class_colors import with_colors
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.ground_area import pixel_areas
from fitcli.annotations.rings import Polygon
from fitcli.errors import ImageError
from fitcli.files.publish import Publication
from fitcli.images.base import ImageInfo
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.images.zarr.image_labels import value_names
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.segment.class_map import SegmentOutputs, legend, map_bytes, named_areas, write_maps
from fitcli.tasks.segment.strips import NOT_SEEN

TABLE = ClassTable(("Background", "iron", "wood"), (4, 7, 9), (None, (1, 2, 3), None))
PATCH, GROUP, CELLS = 4, 2, 2
CELL = PATCH // CELLS
SIZES = [(40, 48), (37, 45), (7, 30), (1, 1)]


def info(size: tuple[int, int], **fields: Any) -> ImageInfo:
    return ImageInfo(height=size[0], width=size[1], channels=3, dtype=np.dtype("u1"), **fields)


DEGREES = (1, 1, 0, 1, 2048, 0, 1, 4326)


def cells_of(size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """Return the map of the cells: class, then bytes of probabilities; some groups are left out."""
    grid = PatchGrid(size, PATCH, GROUP)
    side = GROUP * CELLS
    rows, columns = -(-size[0] // CELL), -(-size[1] // CELL)
    classes = blobs(grid.rows * side, grid.columns * side, 3, classes=3)
    shares = np.random.default_rng(0).integers(0, 255, (*classes.shape, 3))
    for row, column in grid.coordinates():
        if (row + column) % 4 == 1:
            part = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
            classes[part], shares[part] = NOT_SEEN, NOT_SEEN
    return np.concatenate([classes[..., None], shares], axis=-1).astype(np.uint8)[:rows, :columns]


def written(
    outputs: SegmentOutputs, size: tuple[int, int], stored: ImageInfo | None = None, **fields: Any
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Write the files of an image; return its map and probabilities by pixel, and the areas."""
    read, grid, cells = info(size, **fields), PatchGrid(size, PATCH, GROUP), cells_of(size)
    if outputs.probabilities is None:
        cells = cells[..., :1]
    side = GROUP * CELLS
    with write_maps(outputs, read, stored or read, TABLE, grid, CELL) as writer:
        for row in range(grid.rows):
            writer.take(row, cells[row * side : (row + 1) * side])
    y, x = np.indices(size) // CELL
    return cells[y, x], writer.areas


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with open_image(path, indices=True) as image:
        return image.read(Window(0, 0, *image.info.size))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr", ".png"])
def test_a_map_has_the_class_of_each_pixel(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    path = tmp_path / f"map{suffix}"
    expected, areas = written(SegmentOutputs(map=path), size, mpp=0.5)
    np.testing.assert_array_equal(pixels(path), expected[..., :1])
    assert areas.sum() == size[0] * size[1]
    np.testing.assert_array_equal(areas, np.bincount(expected[..., 0].ravel(), minlength=256))
    if suffix == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path).reshape(size), expected[..., 0])
    if suffix == ".png":
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), expected[..., 0])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr", ".png"])
def test_a_map_says_what_its_values_mean_and_where_it_lies(tmp_path: Path, suffix: str) -> None:
    path, geo = tmp_path / f"map{suffix}", UTM if suffix == ".tif" else None
    written(SegmentOutputs(map=path), (40, 48), mpp=0.5 if geo is None else None, geo=geo)
    text = legend(TABLE)
    assert text == "classes: 0=Background, 1=iron, 2=wood; 255=not looked at"
    files = [path] if path.is_file() else list(path.rglob("zarr.json"))
    assert any(text.encode() in file.read_bytes() for file in files)
    with open_image(path, indices=True) as image:
        assert (image.info.geo is None) == (geo is None)
        if geo is not None:
            assert image.info.geo is not None
            assert image.info.geo.affine() == geo.affine()
        elif suffix != ".png":
            assert image.info.mpp == pytest.approx(0.5)
        if suffix == ".tif":
            assert image.info.nodata == NOT_SEEN


def test_a_tif_has_the_colours_of_its_classes_for_other_programs(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "map.tif"
    expected, _ = written(SegmentOutputs(map=path), (1500, 1300))
    for level in (0, 1):
        with rasterio.open(path, **({"overview_level": 0} if level else {})) as file:
            values, colors = file.read(1), file.colormap(1)
            assert [each.name for each in file.colorinterp] == ["palette"]
            assert file.nodata == NOT_SEEN
        assert {value: color[:3] for value, color in colors.items() if value < 3} == dict(
            enumerate(with_colors(TABLE).colors)
        )
        np.testing.assert_array_equal(np.unique(values), np.unique(expected))
        if level == 0:
            np.testing.assert_array_equal(values, expected[..., 0])
    with open_image(path) as image:
        window = Window(700, 600, 100, 100)
        colored = np.array([colors[value][:3] for value in range(256)], np.uint8)[expected[window.slices()][..., 0]]
        np.testing.assert_array_equal(image.read(window), colored)


def test_smaller_levels_hold_classes_alone(tmp_path: Path) -> None:
    """A mean of two classes would be a third one."""
    size = (1500, 1300)
    expected, _ = written(SegmentOutputs(map=tmp_path / "map.tif"), size)
    values = set(np.unique(expected[..., 0]).tolist())
    with open_image(tmp_path / "map.tif", indices=True) as image:
        assert len(image.info.levels) > 1
        for number, level in enumerate(image.info.levels):
            assert set(np.unique(image.read(Window(0, 0, level.height, level.width), number)).tolist()) <= values


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_probabilities_are_those_of_the_cells_and_zero_where_nobody_looked(tmp_path: Path, suffix: str) -> None:
    outputs = SegmentOutputs(map=tmp_path / "map.tif", probabilities=tmp_path / f"p{suffix}")
    expected, _ = written(outputs, (37, 45))
    unseen = expected[..., :1] == NOT_SEEN
    assert unseen.any()
    np.testing.assert_array_equal(pixels(tmp_path / f"p{suffix}"), np.where(unseen, 0, expected[..., 1:]))
    np.testing.assert_array_equal(pixels(tmp_path / "map.tif"), expected[..., :1])


def rings_of(path: Path) -> list[Polygon]:
    features = json.loads(path.read_text())["features"]
    return [
        Polygon(
            number=TABLE.names.index(each["properties"]["classification"]["name"]),
            rings=tuple(np.array(ring) for ring in each["geometry"]["coordinates"]),
            area=each["properties"]["area_px"],
        )
        for each in features
    ]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_polygons_cover_the_classes_but_the_background(tmp_path: Path, size: tuple[int, int]) -> None:
    outputs = SegmentOutputs(map=tmp_path / "map.tif", polygons=tmp_path / "p.geojson")
    expected, _ = written(outputs, size)
    polygons = rings_of(tmp_path / "p.geojson")
    whole = [replace(each, rings=tuple(ring.astype(int) for ring in each.rings)) for each in polygons]
    classes = expected[..., 0]
    np.testing.assert_array_equal(drawn(whole, size), np.where(classes == 0, NOT_SEEN, classes))
    assert sum(each.area for each in polygons) == ((classes != 0) & (classes != NOT_SEEN)).sum()


def test_small_parts_are_left_out(tmp_path: Path) -> None:
    every = SegmentOutputs(map=tmp_path / "a.tif", polygons=tmp_path / "a.geojson")
    large = SegmentOutputs(map=tmp_path / "b.tif", polygons=tmp_path / "b.geojson", min_area=90)
    written(every, (40, 48))
    written(large, (40, 48))
    areas = [each.area for each in rings_of(tmp_path / "a.geojson")]
    assert [each.area for each in rings_of(tmp_path / "b.geojson")] == [area for area in areas if area >= 90]
    assert min(areas) < 90 <= max(areas)


def test_polygons_are_in_pixels_of_level_0(tmp_path: Path) -> None:
    """The image was read at a quarter of its width and a third of its height."""
    size, stored = (40, 48), info((120, 192))
    outputs = SegmentOutputs(map=tmp_path / "map.tif", polygons=tmp_path / "p.geojson")
    expected, _ = written(outputs, size, stored)
    polygons = rings_of(tmp_path / "p.geojson")
    whole = [replace(each, rings=tuple(np.rint(ring).astype(int) for ring in each.rings)) for each in polygons]
    large = expected[..., 0].repeat(3, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(drawn(whole, stored.size), np.where(large == 0, NOT_SEEN, large))
    assert sum(each.area for each in polygons) == ((large != 0) & (large != NOT_SEEN)).sum()


@pytest.mark.parametrize("in_pixels", [False, True])
def test_polygons_of_an_image_on_the_earth(tmp_path: Path, in_pixels: bool) -> None:
    outputs = SegmentOutputs(map=tmp_path / "map.tif", polygons=tmp_path / "p.geojson", in_pixels=in_pixels)
    written(outputs, (40, 48), geo=UTM)
    document = json.loads((tmp_path / "p.geojson").read_text())
    assert ("crs" in document) != in_pixels
    corners = np.concatenate([ring for each in rings_of(tmp_path / "p.geojson") for ring in each.rings])
    plain = SegmentOutputs(map=tmp_path / "map2.tif", polygons=tmp_path / "plain.geojson")
    written(plain, (40, 48))
    expected = np.concatenate([ring for each in rings_of(tmp_path / "plain.geojson") for ring in each.rings])
    if not in_pixels:
        expected = np.array([500000.0, 4600000.0]) + expected * (2.0, -2.0)
        # Outer rings turn the other way where y is upwards.
        corners, expected = (each[np.lexsort(each.T)] for each in (corners, expected))
        corners, expected = (np.unique(each, axis=0) for each in (corners, expected))
    np.testing.assert_allclose(corners, expected)


class Broken(Exception):
    pass


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_an_error_leaves_no_file(tmp_path: Path, rows: int) -> None:
    outputs = SegmentOutputs(
        map=tmp_path / "map.tif", probabilities=tmp_path / "p.zarr", polygons=tmp_path / "p.geojson"
    )
    size = (40, 48)
    (tmp_path / "map.tif").write_bytes(b"of before")

    def fail() -> None:
        with write_maps(outputs, info(size), info(size), TABLE, PatchGrid(size, PATCH, GROUP), CELL) as writer:
            for row in range(rows):
                writer.take(row, cells_of(size)[row * 4 : (row + 1) * 4])
            raise Broken

    with pytest.raises(Broken):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]
    assert (tmp_path / "map.tif").read_bytes() == b"of before"


@pytest.mark.parametrize("late", ["map.png", "map.tif", "map.zarr", "p.tif", "p.geojson", "p.geojson.gz", "p.gpkg"])
def test_a_file_that_cannot_be_completed_leaves_no_other(
    tmp_path: Path, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of a PNG, and the end of every file, are written when it is closed: the disk may be full by then."""
    name = late if late.startswith("map") else "map.tif"
    shares = late if late == "p.tif" else "p.zarr"
    parts = late if late.startswith("p.g") else "p.gpkg"
    outputs = SegmentOutputs(map=tmp_path / name, probabilities=tmp_path / shares, polygons=tmp_path / parts)
    publish = Publication.publish

    def full(publication: Publication) -> None:
        if publication.destination.name == late:
            raise OSError(errno.ENOSPC, "No space left on device", str(publication.destination))
        publish(publication)

    monkeypatch.setattr(Publication, "publish", full)
    with pytest.raises(ImageError, match=f"{late}: cannot be written: the disk is full"):
        written(outputs, (40, 48))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: {"map": folder / "missing/map.tif"},
        lambda folder: {"probabilities": folder / "p.png"},
        lambda folder: {"polygons": folder / "missing/p.gpkg"},
    ],
)
def test_files_that_cannot_be_written_leave_nothing(tmp_path: Path, change: Callable[[Path], dict[str, Path]]) -> None:
    """A PNG cannot hold five channels."""
    names = tuple(f"class {number}" for number in range(5))
    table, size = ClassTable(names, tuple(range(5))), (40, 48)
    outputs = SegmentOutputs(**{"map": tmp_path / "map.tif"} | change(tmp_path))
    with (
        pytest.raises(ImageError) as caught,
        write_maps(outputs, info(size), info(size), table, PatchGrid(size, PATCH, GROUP), CELL),
    ):
        pass
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_memory_grows_with_what_is_written(tmp_path: Path) -> None:
    size = (4000, 50_000)
    grid, read = PatchGrid(size, 16, 8), info(size)
    alone = SegmentOutputs(map=tmp_path / "map.tif")
    shares, parts = replace(alone, probabilities=tmp_path / "p.tif"), replace(alone, polygons=tmp_path / "p.gpkg")
    least = map_bytes(alone, read, grid, 5)
    assert 128 * size[1] < least < map_bytes(shares, read, grid, 5) < map_bytes(shares, read, grid, 50)
    assert least < map_bytes(parts, read, grid, 5)
    assert map_bytes(alone, info((400_000, 50_000)), PatchGrid((400_000, 50_000), 16, 8), 5) == least


def test_areas_have_names() -> None:
    counts = np.zeros(256, np.int64)
    counts[:3], counts[NOT_SEEN] = (30, 0, 10), 60
    assert named_areas(counts, TABLE, None) == {
        "Background": {"pixels": 30, "share": 0.75},
        "iron": {"pixels": 0, "share": 0.0},
        "wood": {"pixels": 10, "share": 0.25},
    }
    scaled = named_areas(counts, TABLE, 500.0)
    assert scaled["wood"] == {"pixels": 10, "share": 0.25, "square_millimetres": 2.5}
    assert named_areas(np.zeros(256, np.int64), TABLE, None)["iron"]["share"] == 0
    ground = named_areas(counts, TABLE, None, 4.0 * counts)
    assert ground["wood"] == {"pixels": 10, "share": 0.25, "square_metres": 40}


@pytest.mark.parametrize("degrees", [False, True])
def test_areas_on_the_ground(tmp_path: Path, degrees: bool) -> None:
    """In degrees, the area of a pixel depends on its row."""
    in_degrees = replace(UTM, scale=(0.1, 0.1, 0.0), tiepoints=(0.0, 0.0, 0.0, 10.0, 60.0, 0.0), keys=DEGREES)
    geo, size, grid = in_degrees if degrees else UTM, (45, 50), PatchGrid((45, 50), PATCH, GROUP)
    cells, side = cells_of(size)[..., :1], GROUP * CELLS
    read, outputs = info(size, geo=geo), SegmentOutputs(map=tmp_path / "map.tif")
    with write_maps(outputs, read, read, TABLE, grid, CELL) as writer:
        for row in range(grid.rows):
            writer.take(row, cells[row * side : (row + 1) * side])
    found = pixels(tmp_path / "map.tif")[..., 0]
    by_row = pixel_areas(geo, size[0])
    assert by_row is not None
    assert (by_row.min() == by_row.max() == 4) != degrees
    expected = np.bincount(found.ravel(), np.repeat(by_row, size[1]), 256)
    assert writer.known_square_metres is not None
    np.testing.assert_allclose(writer.known_square_metres, expected)


def test_a_zarr_map_is_a_label_image(tmp_path: Path) -> None:
    """By `image-label`, napari opens it as labels; contrast limits of channels would make it fail."""
    path = tmp_path / "map.zarr"
    written(SegmentOutputs(map=path), (40, 48))
    ome = json.loads((path / "zarr.json").read_text())["attributes"]["ome"]
    described = ome["image-label"]
    assert (ome["version"], described["version"], "omero" in ome) == ("0.5", "0.5", False)
    names = [{"label-value": n, "class": name} for n, name in enumerate(TABLE.names)]
    assert described["properties"] == names
    assert described["colors"][-1] == {"label-value": NOT_SEEN, "rgba": [0, 0, 0, 0]}
    assert [each["label-value"] for each in described["colors"]] == [0, 1, 2, NOT_SEEN]
    assert value_names(path).names == dict(enumerate(TABLE.names))
