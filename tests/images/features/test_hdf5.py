"""Files of features of TRIDENT and CLAM are images; other and damaged HDF5 files are refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reader_contract import Case, ReaderContract
from support.slides import SIDE, TRIDENT, grid_of, places, random_features, some_places, write_h5

from fitcli.errors import ImageError
from fitcli.images.features import hdf5
from fitcli.images.open import open_image
from fitcli.images.window import Window

h5py = pytest.importorskip("h5py")

COORDINATES = some_places()
FEATURES = random_features(len(COORDINATES))


class TestHdf5Reader(ReaderContract):
    @pytest.fixture(params=["trident", "clam", "leading axis", "gzip", "half", "double"])
    def case(self, request: pytest.FixtureRequest, tmp_path: Path) -> Case:
        features, options, attributes = FEATURES, {}, TRIDENT
        if request.param == "clam":
            attributes = None
        if request.param == "leading axis":
            features = FEATURES[None]
        if request.param == "gzip":
            options = {"chunks": (50, 8), "compression": "gzip"}
        if request.param in ("half", "double"):
            features = FEATURES.astype({"half": "f2", "double": "f8"}[request.param])
        path = write_h5(tmp_path / "slide.h5", features, COORDINATES, attributes, **options)
        dtype = np.float16 if request.param == "half" else np.float32
        return Case(path, [grid_of(FEATURES, COORDINATES).astype(dtype)])


def test_the_description(tmp_path: Path) -> None:
    attributes = TRIDENT | {"level0_width": 20_000, "level0_height": 30_000}
    with open_image(write_h5(tmp_path / "slide.h5", FEATURES, COORDINATES, attributes)) as image:
        info = image.info
    grid = info.features
    assert grid is not None
    assert (info.height, info.width, info.channels, info.format) == (20, 15, 8, "HDF5 features")
    assert (grid.side, grid.left, grid.top, grid.slide) == (SIDE, 3 * SIDE, 2 * SIDE, (30_000, 20_000))
    assert (grid.missing, grid.magnification, grid.patch, grid.mpp) == (20 * 15 - len(COORDINATES), 40, SIDE, None)
    # 40x has a quarter of a micron per pixel, about.
    assert info.mpp == SIDE * 0.25


@pytest.mark.parametrize(
    ("attributes", "patch", "side"),
    [
        ({"patch_size": 256, "patch_level": 0}, 256, 256),
        ({"patch_size": 256, "patch_level": 1, "downsample": 2.0}, 512, 512),
        ({"patch_size": 256, "level0_magnification": 40, "target_magnification": 10}, 1024, 1024),
        (TRIDENT | {"overlap": 64}, 512, 384),
        ({"patch_size_level0": "512"}, 512, 512),
        ({"patch_size": "None", "patch_level": 0}, 384, 384),
        ({}, 384, 384),
    ],
)
def test_the_side_of_a_patch(tmp_path: Path, attributes: dict[str, Any], patch: float, side: int) -> None:
    with open_image(write_h5(tmp_path / "a.h5", random_features(12), places(3, 4, side=side), attributes)) as image:
        assert image.info.features is not None
        assert (image.info.features.patch, image.info.features.side) == (patch, side)


def test_the_microns_that_a_file_states(tmp_path: Path) -> None:
    with open_image(write_h5(tmp_path / "a.h5", FEATURES, COORDINATES, TRIDENT | {"level0_mpp": 0.2527})) as image:
        assert image.info.features is not None
        assert image.info.features.mpp == 0.2527
        assert image.info.mpp == pytest.approx(0.2527 * SIDE)


def test_only_the_rows_of_a_window_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinates = places(100, 80)
    path = write_h5(tmp_path / "a.h5", random_features(len(coordinates)), coordinates)
    read = []
    real = hdf5.stretches

    def spy(rows: Any) -> Any:
        for first, stop, part in real(rows):
            read.append(stop - first)
            yield first, stop, part

    monkeypatch.setattr(hdf5, "stretches", spy)
    with open_image(path) as image:
        image.read(Window(16, 16, 16, 16))
    assert sum(read) == 256


def test_coordinates_are_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls = write_h5(tmp_path / "a.h5", FEATURES, COORDINATES), []
    real = hdf5.index_places
    monkeypatch.setattr(hdf5, "index_places", lambda *arguments: calls.append(1) or real(*arguments))
    for _ in range(3):
        open_image(path).close()
    assert len(calls) == 1
    write_h5(path, FEATURES[:-1], COORDINATES[:-1])
    open_image(path).close()
    assert len(calls) == 2, "a file that has changed is indexed again"


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(tmp_path / "a.h5", FEATURES, COORDINATES)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImageError, match=r"pip install 'fitcli\[features\]'"):
        open_image(path)


def changed(change: Any) -> Any:
    def write(path: Path) -> None:
        write_h5(path, FEATURES, COORDINATES)
        with h5py.File(path, "r+") as file:
            change(file)

    return write


def replaced(name: str, value: Any, **attributes: Any) -> Any:
    def change(file: Any) -> None:
        del file[name]
        file.create_dataset(name, data=value).attrs.update(attributes)

    return changed(change)


def link(file: Any) -> None:
    del file["features"]
    file["features"] = h5py.ExternalLink("/etc/passwd", "/features")


def external(file: Any) -> None:
    del file["features"]
    file.create_dataset("features", (len(COORDINATES), 8), "f4", external=[("/etc/passwd", 0, 10**6)])


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((len(COORDINATES), 8), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "features", (len(COORDINATES), 8))
    del file["features"]
    file.create_virtual_dataset("features", layout)


def truncated(path: Path) -> None:
    write_h5(path, FEATURES, COORDINATES)
    path.write_bytes(path.read_bytes()[:-500])


BAD: dict[str, tuple[Any, str]] = {
    "another file": (changed(lambda file: [file.pop(name) for name in list(file)] + [file.create_group("X")]),
                     r"without the datasets features and coords \(it holds 'X'\)"),
    "coordinates alone": (changed(lambda file: file.pop("features")), "coordinates of patches but no features"),
    "more features": (replaced("features", random_features(5)), "has 5 features for 180 coords"),
    "no pairs": (replaced("coords", np.zeros((180, 3), "i8")), r"coords of shape \(180, 3\)"),
    "a vector": (replaced("features", np.zeros(180, "f4")), r"features of shape \(180,\)"),
    "objects": (replaced("features", ["a"] * 180), "has features of object"),
    "integers": (replaced("features", np.zeros((180, 8), "i4")), "features are floats: convert them"),
    "no whole pixels": (replaced("coords", COORDINATES + 0.5), "no whole pixels"),
    "not a number": (replaced("coords", COORDINATES * np.nan), "no whole pixels"),
    "beyond 63 bits": (replaced("coords", np.full((180, 2), 2**64 - 1, "u8")), "beyond any slide"),
    "two sizes in one attribute": (replaced("coords", COORDINATES, patch_size_level0=[256, 512]),
                                   "several patch sizes"),
    "two stated sizes": (changed(lambda file: file["features"].attrs.update(patch_size_level0=256)),
                         "two patch sizes, 512 and 256 pixels"),
    "a group": (changed(lambda file: [file.pop("features"), file.create_group("features")]), "has a group in place"),
    "a link": (changed(link), "has a link in place of features"),
    "external": (changed(external), "keeps features in other files"),
    "virtual": (changed(virtual), "keeps features in other files"),
    "no patch": (lambda path: write_h5(path, FEATURES[:0], COORDINATES[:0], chunks=None), "holds no patch"),
    "not written": (changed(lambda file: [file.pop("coords"), file.create_dataset("coords", (180, 2), "i8")]),
                    "has no values of coords"),
    "truncated": (truncated, "cannot be read as HDF5 .*damaged or incomplete"),
    "only a signature": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(60)), "cannot be read as HDF5"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, message = BAD[name]
    path = tmp_path / "bad.h5"
    write(path)
    with pytest.raises(ImageError, match=message) as caught:
        open_image(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_features_that_are_not_a_number_are_missing(tmp_path: Path) -> None:
    features = FEATURES.copy()
    features[7] = np.nan
    with open_image(write_h5(tmp_path / "a.h5", features, COORDINATES)) as image:
        pixels = image.read(Window(0, 0, *image.info.size))
    np.testing.assert_array_equal(pixels, grid_of(features, COORDINATES))
