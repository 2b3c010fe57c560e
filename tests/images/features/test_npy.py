"""Arrays of numpy are images of features; objects are never unpickled."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.reader_contract import Case, ReaderContract

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.window import Window

PIXELS = np.random.default_rng(0).normal(size=(20, 15, 8)).astype("f4")


class TestNpyReader(ReaderContract):
    @pytest.fixture(params=["<f4", "<f2", ">f8", "fortran"])
    def case(self, request: pytest.FixtureRequest, tmp_path: Path) -> Case:
        stored = np.asfortranarray(PIXELS) if request.param == "fortran" else PIXELS.astype(request.param)
        np.save(tmp_path / "a.npy", stored)
        return Case(tmp_path / "a.npy", [PIXELS.astype("f2" if request.param == "<f2" else "f4")])


def test_chosen_values_of_features(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    with open_image(tmp_path / "a.npy", choice=PlaneChoice(channels="7,0")) as image:
        assert image.info.channels == 2
        np.testing.assert_array_equal(image.read(Window(3, 2, 5, 6)), PIXELS[3:8, 2:8, [7, 0]])
    with pytest.raises(UnreadableAs, match=r"a\.npy: has no channel 8"):
        open_image(tmp_path / "a.npy", choice=PlaneChoice(channels="8"))


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("was unpickled",)


def truncated(path: Path) -> None:
    np.save(path, PIXELS)
    path.write_bytes(path.read_bytes()[:-100])


BAD: dict[str, tuple[Any, str]] = {
    "objects": (lambda path: np.save(path, np.array([Trap()], object), allow_pickle=True), "holds Python objects"),
    "a pickle behind": (lambda path: path.write_bytes(b"\x93NUMPY\1\0" + pickle.dumps(Trap(), 0)), "cannot be read"),
    "truncated": (truncated, "damaged or incomplete"),
    "a header alone": (lambda path: path.write_bytes(b"\x93NUMPY"), "damaged or incomplete"),
    "two axes": (lambda path: np.save(path, PIXELS[0]), r"shape \(15, 8\); save features as \[rows, columns, values\]"),
    "integers": (lambda path: np.save(path, PIXELS.astype("i4")), "features are floats: convert them to float32"),
    "records": (lambda path: np.save(path, np.zeros((2, 2, 2), "f4,f4")), "holds no plain array"),
    "no place": (lambda path: np.save(path, PIXELS[:0]), "damaged or incomplete|has 0 x 15 places"),
    "too many values": (lambda path: np.save(path, np.zeros((1, 1, 70_000), "f4")), "features of 70,000 values"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, message = BAD[name]
    path = tmp_path / "bad.npy"
    write(path)
    with pytest.raises(ImageError, match=message) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)
