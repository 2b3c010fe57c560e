"""Values of label images at the pixels of images: sizes, levels, scales and places."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.pictures import save

from fitcli.annotations import stored_labels
from fitcli.annotations.stored_labels import StoredLabels
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image, open_image
from fitcli.images.read_as import ReadAs, open_as
from fitcli.images.window import Window

SIZE = 203, 301
"""Odd sides, so that label images of all factors are rounded."""


def values(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (*size, 1), np.uint8)


def image(folder: Path, size: tuple[int, int] = SIZE, mpp: float | None = 0.5) -> Path:
    return save(folder / "image.tif", np.zeros((*size, 1), np.uint8), mpp, chunk=32)


def shrunk(size: tuple[int, int], factor: int, up: bool) -> tuple[int, int]:
    rows, columns = (-(-side // factor) if up else side // factor for side in size)
    return rows, columns


def whole(labels: StoredLabels) -> np.ndarray:
    return labels.read(Window(0, 0, *labels.info.size))


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("factor", [1, 2, 3, 7, 8, 16])
def test_smaller_by_a_factor(tmp_path: Path, factor: int, up: bool) -> None:
    own = values(shrunk(SIZE, factor, up))
    path = save(tmp_path / "labels.tif", own, chunk=16)
    with open_image(image(tmp_path)) as shown, StoredLabels(path, shown) as labels:
        assert (labels.factor, labels.info.size) == (factor, SIZE)
        rows, columns = (np.minimum(np.arange(side) // factor, n - 1) for side, n in zip(SIZE, own.shape, strict=False))
        expected = own[rows][:, columns]
        np.testing.assert_array_equal(whole(labels), expected)
        for window in (Window(17, 40, 33, 100), Window(-5, 250, 500, 500), Window(202, 300, 1, 1), Window(9, 9, 0, 4)):
            np.testing.assert_array_equal(labels.read(window), expected[window.clip(*SIZE).slices()])


@pytest.mark.walk
@pytest.mark.parametrize("how", [ReadAs(level=1), ReadAs(level=2), ReadAs(mpp=0.8), ReadAs(mpp=1.7), ReadAs(mpp=0.2)])
@pytest.mark.parametrize("factor", [1, 2, 5])
def test_labels_follow_level_and_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: ReadAs, factor: int
) -> None:
    own = values(shrunk(SIZE, factor, True))
    path = save(tmp_path / "labels.png", own)
    with open_as(image(tmp_path), how) as shown, StoredLabels(path, shown) as labels:
        assert labels.info.size == shown.info.size
        assert labels.factor == factor
        # The value at the centre of each pixel, in pixels of level 0.
        sides = [2.0**how.level] * 2 if how.level else [SIZE[axis] / shown.info.size[axis] for axis in (0, 1)]
        if how.mpp == 1.7:  # a level of 1 micron per pixel is resampled, whose last row and column are partly beyond
            sides = [2 * -(-SIZE[axis] // 2) / shown.info.size[axis] for axis in (0, 1)]
        places = [
            [
                min(int((pixel + 0.5) * sides[axis] / factor), own.shape[axis] - 1)
                for pixel in range(shown.info.size[axis])
            ]
            for axis in (0, 1)
        ]
        expected = own[places[0]][:, places[1]]
        np.testing.assert_array_equal(whole(labels), expected)
        monkeypatch.setattr(stored_labels, "PIECE_PIXELS", 500)
        np.testing.assert_array_equal(whole(labels), expected)
        window = Window(3, 5, 20, 30)
        np.testing.assert_array_equal(labels.read(window), expected[window.clip(*shown.info.size).slices()])


def test_the_scale_decides_between_factors(tmp_path: Path) -> None:
    # 1000 / 31 and 1000 / 32 are both 32 pixels after rounding.
    path = save(tmp_path / "labels.tif", values((32, 32)), 0.5 * 31)
    other = save(tmp_path / "other.tif", values((32, 32)))
    with open_image(image(tmp_path, (1000, 1000))) as shown:
        with StoredLabels(path, shown) as labels:
            assert labels.factor == 31
        with StoredLabels(other, shown) as labels:
            assert labels.factor == 32


@pytest.mark.parametrize("size", [(204, 301), (203, 302), (301, 203), (102, 149), (67, 150), (406, 602), (1, 301)])
def test_other_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = save(tmp_path / "labels.png", values(size))
    with open_image(image(tmp_path)) as shown, pytest.raises(ImageError) as raised:
        StoredLabels(path, shown)
    text = str(raised.value)
    assert text.startswith(f"{path}: has {size[1]} x {size[0]} pixels, but {shown.path} has 301 x 203;")
    assert "\n" not in text


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours(tmp_path: Path, channels: int) -> None:
    path = save(tmp_path / "labels.png", np.zeros((*SIZE, channels), np.uint8))
    with open_image(image(tmp_path)) as shown, pytest.raises(ImageError, match="one channel of class values"):
        StoredLabels(path, shown)


def unreadable(folder: Path) -> dict[str, Path]:
    save(folder / "whole.tif", values(), compression="deflate")
    save(folder / "whole.png", values())
    for name in ("whole.tif", "whole.png"):
        data = (folder / name).read_bytes()
        (folder / f"cut-{name}").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "folder").mkdir()
    names = ("cut-whole.tif", "cut-whole.png", "empty.png", "folder", "missing.png")
    return {name: folder / name for name in names}


@pytest.mark.parametrize("name", ["cut-whole.tif", "cut-whole.png", "empty.png", "folder", "missing.png"])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    path = unreadable(tmp_path)[name]
    with open_image(image(tmp_path)) as shown, pytest.raises(ImageError) as raised:
        whole(StoredLabels(path, shown))
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def placed(path: Path, size: tuple[int, int], geo: GeoReference | None) -> Path:
    info = ImageInfo(height=size[0], width=size[1], channels=1, dtype=np.dtype("u1"), geo=geo)
    with create_image(path, info, resampling="nearest") as canvas:
        canvas.write(Window(0, 0, *size), values(size))
    return path


def upright(side: float, x: float = 4e5, y: float = 5.7e6, code: int = 32632) -> GeoReference:
    keys = (1, 1, 0, 1, 3072, 0, 1, code)
    return GeoReference(scale=(side, side, 0.0), tiepoints=(0.0, 0.0, 0.0, x, y, 0.0), keys=keys)


TURNED = GeoReference(transformation=(0.0, 10.0, 0.0, 4e5, 10.0, 0.0, 0.0, 5.7e6, *(0.0,) * 7, 1.0))
SAME = GeoReference(transformation=(10.0, 0.0, 0.0, 4e5, 0.0, -10.0, 0.0, 5.7e6, *(0.0,) * 7, 1.0))
POINTS = GeoReference(tiepoints=(0.0, 0.0, 0.0, 4e5, 5.7e6, 0.0) * 2)


@pytest.mark.parametrize(
    ("geo", "size", "wrong"),
    [
        (upright(10), SIZE, ""),
        (upright(10.01, 4e5 + 6), SIZE, ""),
        (upright(40), shrunk(SIZE, 4, True), ""),
        (upright(40, 4e5 + 30), shrunk(SIZE, 4, False), ""),
        (SAME, SIZE, ""),
        (POINTS, SIZE, ""),
        (None, SIZE, ""),
        (upright(10, 4e5 + 20), SIZE, "in another place, 2 pixels away from"),
        (upright(10, y=5.8e6), SIZE, "in another place, 10000 pixels away"),
        (upright(10.2), SIZE, "in another place, 7.26113 pixels away"),
        (upright(10), shrunk(SIZE, 4, True), "in another place"),
        (upright(10, code=32633), SIZE, "EPSG:32633, but .* in EPSG:32632"),
        (TURNED, SIZE, "in another place"),
    ],
)  # fmt: skip
def test_places(tmp_path: Path, geo: GeoReference | None, size: tuple[int, int], wrong: str) -> None:
    path = placed(tmp_path / "labels.tif", size, geo)
    with open_as(placed(tmp_path / "image.tif", SIZE, upright(10)), ReadAs(level=0)) as shown:
        if wrong:
            with pytest.raises(ImageError, match=wrong):
                StoredLabels(path, shown)
        else:
            StoredLabels(path, shown).close()


def test_a_place_is_that_of_the_stored_image(tmp_path: Path) -> None:
    path = placed(tmp_path / "labels.tif", SIZE, upright(10))
    size = 800, 600
    other = placed(tmp_path / "image.tif", size, upright(10))
    same = placed(tmp_path / "same.tif", size, upright(10))
    with open_as(other, ReadAs(level=1)) as shown:
        assert shown.info.size == (400, 300)
        StoredLabels(same, shown).close()
        with pytest.raises(ImageError, match="has 600 x 800"):
            StoredLabels(path, shown)


def test_levels_and_closing(tmp_path: Path) -> None:
    path = save(tmp_path / "labels.tif", values(), chunk=32)
    with open_image(image(tmp_path)) as shown:
        labels = StoredLabels(path, shown)
    assert len(labels.info.levels) == 1
    with pytest.raises(ImageError, match="no level 1"):
        labels.read(Window(0, 0, 1, 1), 1)
    again = pickle.loads(pickle.dumps(labels))
    np.testing.assert_array_equal(whole(again), values())
    again.close()
    labels.close()
    with pytest.raises(ImageError, match="closed"):
        labels.read(Window(0, 0, 1, 1))


def test_palettes_are_indices(tmp_path: Path) -> None:
    own = values()[:, :, 0]
    colormap = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "labels.tif", own, photometric="palette", colormap=colormap)
    with open_image(image(tmp_path)) as shown, StoredLabels(tmp_path / "labels.tif", shown) as labels:
        np.testing.assert_array_equal(whole(labels)[:, :, 0], own)
        assert len(labels.info.palette) == 256


@pytest.mark.parametrize(
    ("axes", "choice", "ending", "expected"),
    [
        ("ZYX", {"z": "2"}, "", 2),
        ("TYX", {"z": "0", "t": 1}, "", 1),
        ("QYX", {"z": "1"}, "", 1),
        ("ZYX", {"z": "0"}, "#z=2", 2),
        ("ZYX", {}, "#z=1", 1),
    ],
)
def test_labels_of_several_planes_follow_the_image(
    tmp_path: Path, axes: str, choice: dict[str, Any], ending: str, expected: int
) -> None:
    planes = np.concatenate([values(seed=number) for number in range(3)], axis=2).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "labels.tif", planes, photometric="minisblack", metadata={"axes": axes})
    name = {"axes": "TZYX" if "t" in choice else "ZYX"}
    stack = np.zeros((3, 1, *SIZE) if "t" in choice else (3, *SIZE), np.uint8)
    tifffile.imwrite(tmp_path / "image.tif", stack, photometric="minisblack", metadata=name)
    path = Path(f"{tmp_path / 'labels.tif'}{ending}")
    with (
        open_as(tmp_path / "image.tif", ReadAs(**(choice or {"z": "0"}))) as shown,
        StoredLabels(path, shown) as labels,
    ):
        assert (whole(labels)[:, :, 0] == planes[expected]).all()


def test_labels_of_several_planes_for_a_projection(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", np.zeros((3, 40, 50), np.uint16), photometric="minisblack", metadata={"axes": "ZYX"}
    )
    with open_as(tmp_path / "x.tif", ReadAs(z="max")) as shown:
        with pytest.raises(ImageError, match=r"x\.tif: holds 3 focal planes"):
            StoredLabels(tmp_path / "x.tif", shown)
        with pytest.raises(ImageError, match="labels are read at full resolution; leave out level and mpp"):
            StoredLabels(tmp_path / "x.tif#level=1", shown)
