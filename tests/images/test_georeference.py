"""Georeferences survive reading, cropping, resizing and writing; broken ones never prevent reading an image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fitcli.images.base import ImageInfo
from fitcli.images.crop import Crop
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image, open_image
from fitcli.images.shifted import Shifted
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.classify.classify_image import Classification
from fitcli.tasks.classify.heatmap import write_heatmap

SIZE = 70, 90

SCALE, TIEPOINTS, MATRIX, KEYS, DOUBLES, TEXT = 33550, 33922, 34264, 34735, 34736, 34737
TYPES = {SCALE: 12, TIEPOINTS: 12, MATRIX: 12, KEYS: 3, DOUBLES: 12, TEXT: 2}

ZONE = "WGS 84 / UTM zone 32N|WGS 84|"


def keys(raster_type: int = 1) -> dict[int, Any]:
    """Return tags of UTM zone 32 north, with keys of all three types."""
    directory = (1, 1, 0, 5, 1024, 0, 1, 1, 1025, 0, 1, raster_type, 1026, TEXT, 22, 0, 2057, DOUBLES, 1, 1,
                 3072, 0, 1, 32632)  # fmt: skip
    return {KEYS: directory, DOUBLES: (0.0, 6378137.0), TEXT: ZONE}


UPRIGHT = {SCALE: (10.0, 10.0, 0.0), TIEPOINTS: (0.0, 0.0, 0.0, 399960.0, 5700000.0, 0.0)}
ROTATED = {MATRIX: (8.0, -6.0, 0.0, 4e5, -6.0, -8.0, 0.0, 5.7e6, 0.0, 0.0, 1.0, 3.0, 0.0, 0.0, 0.0, 1.0)}
POINTS = {TIEPOINTS: (0.0, 0.0, 0.0, 8.0, 50.0, 0.0, 90.0, 0.0, 0.0, 9.0, 50.1, 0.0, 0.0, 70.0, 0.0, 8.1, 49.0, 0.0)}
KINDS = {
    "upright": UPRIGHT | keys(),
    "upright, centres": {SCALE: (10.0, 20.0, 1.0), TIEPOINTS: (5.0, 7.0, 0.0, 4e5, 5.7e6, 2.0)} | keys(2),
    "rotated": ROTATED | keys(),
    "rotated, centres": ROTATED | keys(2),
    "without a coordinate system": UPRIGHT,
    "points": POINTS | keys(),
}


def save(path: Path, tags: dict[int, Any]) -> Path:
    """Write an image of random pixels with the given tags."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    extra = [(code, TYPES[code], 0 if code == TEXT else len(values), values, True) for code, values in tags.items()]
    tifffile.imwrite(path, pixels, extratags=extra, photometric="rgb", metadata=None)
    return path


def tags_of(path: Path, page: int = 0) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        tags = file.pages[page].tags  # type: ignore[union-attr]
        return {code: tags[code].value for code in TYPES if code in tags}


def coordinates(tags: dict[int, Any], column: float, row: float) -> tuple[float, ...]:
    """Return (X, Y, Z) of a corner between pixels; without scale and matrix, those of the tiepoint at this corner."""
    if KEYS in tags and 1025 in tags[KEYS] and tags[KEYS][tags[KEYS].index(1025) + 3] == 2:
        column, row = column - 0.5, row - 0.5
    if MATRIX in tags:
        point: np.ndarray = np.reshape(tags[MATRIX], (4, 4)) @ (column, row, 0.0, 1.0)
        return tuple(point[:3])
    points = np.reshape(tags[TIEPOINTS], (-1, 6))
    nearest = points[np.hypot(points[:, 0] - column, points[:, 1] - row).argmin()]
    across, down, _ = tags.get(SCALE, (math.nan,) * 3)
    if SCALE not in tags:
        assert (nearest[0], nearest[1]) == pytest.approx((column, row))
        return tuple(nearest[3:])
    return nearest[3] + (column - nearest[0]) * across, nearest[4] - (row - nearest[1]) * down, nearest[5]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize("tags", KINDS.values(), ids=KINDS)
def test_what_is_written_is_what_was_read(tmp_path: Path, tags: dict[int, Any], suffix: str) -> None:
    with open_image(save(tmp_path / "map.tif", tags)) as image:
        pixels, info = image.read(Window(0, 0, *SIZE)), image.info
    written = tmp_path / f"written{suffix}"
    with create_image(written, info, chunk=16) as canvas:
        canvas.write(Window(0, 0, *SIZE), pixels)
    assert tags_of(written) == {code: value.rstrip("\0") if code == TEXT else value for code, value in tags.items()}
    with tifffile.TiffFile(written) as file, tifffile.TiffFile(tmp_path / "map.tif") as before:
        assert file.pages.first.geotiff_tags == before.pages.first.geotiff_tags
        smaller = file.pages[1] if suffix == ".tif" else file.pages.first.pages[0]
        assert not TYPES.keys() & {tag.code for tag in smaller.tags}
    with open_image(written) as again:
        assert again.info.geo == info.geo is not None


@pytest.mark.parametrize("kind", ["upright", "upright, centres", "rotated", "rotated, centres", "points"])
def test_parts_and_other_sizes_keep_their_place(tmp_path: Path, kind: str) -> None:
    tags = KINDS[kind]
    corners = [(0, 0), (90, 0), (0, 70), *([] if kind == "points" else [(90, 70), (31, 17)])]

    def check(info: ImageInfo, across: float = 1, down: float = 1, left: float = 0, top: float = 0) -> None:
        path = tmp_path / "changed.tif"
        with create_image(path, info):
            pass
        for column, row in corners:
            there = coordinates(tags_of(path), (column - left) * across, (row - top) * down)
            assert there == pytest.approx(coordinates(tags, column, row), rel=1e-12)

    with open_image(save(tmp_path / "map.tif", tags)) as image:
        info = image.info
        check(info)
        check(Crop(image, Window(17, 31, 20, 30)).info, left=31, top=17)
        check(Shifted(image, 8, 3).info, left=-3, top=-8)
        assert info.geo is not None
        larger = info.geo.resize(SIZE, (700, 270))
        check(ImageInfo(height=700, width=270, channels=3, dtype=np.dtype(np.uint8), geo=larger), across=3, down=10)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_a_heat_map_has_the_place_of_its_image(tmp_path: Path, suffix: str) -> None:
    tags, grid = KINDS["upright, centres"], PatchGrid(SIZE, 8, 4)
    evidence = np.full((grid.count, 16), 1.0, np.float32)
    result = Classification(np.array([1.0, 0.0]), evidence, grid, list(grid.coordinates()))
    with open_image(save(tmp_path / "map.tif", tags)) as image:
        write_heatmap(tmp_path / f"heat{suffix}", image, result)
    assert tags_of(tmp_path / f"heat{suffix}") == tags
    with tifffile.TiffFile(tmp_path / f"heat{suffix}") as file:
        assert file.pages.first.shape == SIZE


NAN = float("nan")
BROKEN = {
    "scale that is no number": UPRIGHT | {SCALE: (NAN, 10.0, 0.0)},
    "scale of nothing": UPRIGHT | {SCALE: (0.0, 10.0, 0.0)},
    "two scales": UPRIGHT | {SCALE: (10.0, 10.0)},
    "one scale": UPRIGHT | {SCALE: (10.0,)},
    "scale alone": {SCALE: (10.0, 10.0, 0.0)},
    "keys alone": keys(),
    "tiepoint cut off": UPRIGHT | {TIEPOINTS: (0.0, 0.0, 0.0, 1.0)},
    "endless tiepoint": UPRIGHT | {TIEPOINTS: (0.0, 0.0, 0.0, math.inf, 1.0, 0.0)},
    "too many tiepoints": UPRIGHT | {TIEPOINTS: (0.0,) * 150_000},
    "matrix cut off": {MATRIX: (1.0,) * 15},
    "more keys than there are": UPRIGHT | {KEYS: (1, 1, 0, 9, 1024, 0, 1, 1)},
    "keys cut off": UPRIGHT | {KEYS: (1, 1, 0)},
    "key without its text": UPRIGHT | keys() | {TEXT: "WGS"},
    "key without its number": UPRIGHT | keys() | {DOUBLES: (1.0,)},
}


@pytest.mark.parametrize("tags", BROKEN.values(), ids=BROKEN)
def test_a_broken_georeference_is_ignored(tmp_path: Path, tags: dict[int, Any]) -> None:
    path = save(tmp_path / "map.tif", tags)
    with open_image(path) as image:
        assert image.info.geo is None
        np.testing.assert_array_equal(image.read(Window(0, 0, *SIZE)), tifffile.imread(path))


@pytest.mark.parametrize("code", UPRIGHT | keys())
@pytest.mark.parametrize("kind", [1, 2, 7, 13, 99])
def test_tags_of_other_types_do_not_prevent_reading(tmp_path: Path, code: int, kind: int) -> None:
    """Overwrite the type of a tag in the file: its bytes then mean something else, or lie beyond the end."""
    path = save(tmp_path / "map.tif", UPRIGHT | keys())
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags[code].offset  # type: ignore[union-attr]
    data[place + 2 : place + 4] = kind.to_bytes(2, "little")
    path.write_bytes(data)
    with open_image(path) as image:
        assert image.read(Window(0, 0, 8, 8)).shape == (8, 8, 3)
        Crop(image, Window(8, 8, 8, 8)).close()


def test_numbers_that_overflow_are_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "map.tif", {SCALE: (1e308, 1e308, 0.0), TIEPOINTS: (1e308, 0.0, 0.0, 1e308, 0.0, 0.0)})
    with open_image(path) as image:
        assert image.info.geo is not None
        assert image.info.geo.resize(SIZE, (7, 9_000_000)) is None
        assert image.info.geo.resize((9_000_000, 9_000_000), (9, 9)) is None
        assert Crop(image, Window(8, 8, 8, 8)).info.geo is not None


@pytest.mark.parametrize("name", KINDS)
def test_affine_and_coordinate_system(tmp_path: Path, name: str) -> None:
    with open_image(save(tmp_path / "image.tif", KINDS[name])) as image:
        geo = image.info.geo
    assert geo is not None
    assert geo.coordinate_system() == (None if name == "without a coordinate system" else 32632)
    expected = {
        "upright": (10, 0, 399960, 0, -10, 5.7e6),
        "without a coordinate system": (10, 0, 399960, 0, -10, 5.7e6),
        # The centre of pixel (5, 7) lies at (4e5, 5.7e6).
        "upright, centres": (10, 0, 4e5 - 55, 0, -20, 5.7e6 + 150),
        "rotated": (8, -6, 4e5, -6, -8, 5.7e6),
        "rotated, centres": (8, -6, 4e5 - 1, -6, -8, 5.7e6 + 7),
        "points": None,
    }
    assert geo.affine() == expected[name]
    half = geo.resize(SIZE, (SIZE[0] // 2, SIZE[1] // 2))
    if expected[name] is not None:
        assert half is not None
        a, b, c, d, e, f = expected[name]
        assert half.affine() == pytest.approx((2 * a, 2 * b, c, 2 * d, 2 * e, f))


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ({1024: 1, 3072: 32632, 2048: 4326}, 32632),
        ({1024: 2, 2048: 4326}, 4326),
        ({2048: 4326}, 4326),
        ({3072: 32632}, 32632),
        # A projection that has no code of its own, based on a geographic system that has one.
        ({1024: 1, 2048: 4269, 3072: 32767}, None),
        ({1024: 1, 2048: 4269}, None),
        ({2048: 4269, 3072: 32767}, None),
        ({1024: 2, 2048: 32767}, None),
    ],
    ids=str,
)
def test_a_projection_without_a_code_is_not_the_system_under_it(entries: dict[int, int], code: int | None) -> None:
    keys = [1, 1, 0, len(entries), *(number for key, value in entries.items() for number in (key, 0, 1, value))]
    geo = GeoReference(scale=(1.0, 1.0, 0.0), tiepoints=(0.0,) * 6, keys=tuple(keys))
    assert geo.coordinate_system() == code


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_names_beyond_ascii_keep_the_place(tmp_path: Path, encoding: str) -> None:
    """A key has the position of its text in bytes, so each byte stays a character."""
    data = "unnamed|°|m|".encode(encoding)
    first, size = "unnamed|".encode(encoding), len(data)
    keys = (1, 1, 0, 2, 1026, 34737, len(first), 0, 2052, 34737, 2, size - 2)
    path = tmp_path / "map.tif"
    tifffile.imwrite(
        path,
        np.zeros((*SIZE, 3), np.uint8),
        photometric="rgb",
        extratags=[
            (SCALE, 12, 3, (10.0, 10.0, 0.0), True),
            (TIEPOINTS, 12, 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),
            (KEYS, 3, len(keys), keys, True),
            (TEXT, 2, size + 1, data + b"\0", True),
        ],
    )
    with open_image(path) as image:
        geo = image.info.geo
    assert geo is not None
    assert geo.affine() == (10, 0, 4e5, 0, -10, 5e6)
    assert geo.text == "unnamed|" + "?" * (size - 11) + "|m|"
    assert geo.text[size - 2 :] == "m|"
