"""Attributes of files of features are numbers in their limits, unknown, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.slides import TRIDENT, places, random_features, write_h5

from fitcli.errors import ImageError
from fitcli.images.features.attributes import LIMITS, read_numbers
from fitcli.images.open import open_image

h5py = pytest.importorskip("h5py")

MAY_BE_ZERO = ("overlap", "patch_level")

WRONG: dict[str, Any] = {
    "zero": 0,
    "not a number": float("nan"),
    "infinite": float("inf"),
    "negative": -256,
    "huge": 1e300,
    "text": "many",
    "bytes": b"\xff\xfe",
    "truth": True,
    "array": [1, 2, 3],
    "two numbers": [1.0, 2.0],
    "no number": np.zeros(0),
    "many dimensions": np.ones((2, 2)),
}


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("name", LIMITS)
def test_numbers_that_cannot_be_are_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    path = write_h5(tmp_path / "a.h5", random_features(12), places(3, 4), TRIDENT | {name: WRONG[value]})
    if value == "zero" and name in MAY_BE_ZERO:
        open_image(path).close()
        return
    with pytest.raises(ImageError) as caught:
        open_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: states ")
    assert "\n" not in message
    assert len(message) < 250
    assert name in message or "several patch sizes" in message
    if "several" not in message:
        assert "with coords" in message
        assert message.endswith("correct or remove the attribute")


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", ["None", "", b"none", h5py.Empty("f8")], ids=str)
def test_unknown_numbers_are_passed_over(tmp_path: Path, name: str, value: Any) -> None:
    path = write_h5(tmp_path / "a.h5", random_features(12), places(3, 4), {name: value})
    with h5py.File(path) as file:
        assert read_numbers(path, "coords", file["coords"].attrs) == {}


def test_attributes_of_the_features_are_checked_as_well(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", random_features(12), places(3, 4), None)
    with h5py.File(path, "r+") as file:
        file["features"].attrs["patch_size_level0"] = -1
    with pytest.raises(ImageError, match="states patch_size_level0 -1 with features, which is not a number above 0"):
        open_image(path)


@pytest.mark.parametrize("overlap", [256, 300])
def test_an_overlap_of_whole_patches_is_refused(tmp_path: Path, overlap: int) -> None:
    path = write_h5(tmp_path / "a.h5", random_features(12), places(3, 4), TRIDENT | {"overlap": overlap})
    with pytest.raises(ImageError, match=f"states an overlap of {overlap} pixels of patches of 256"):
        open_image(path)


@pytest.mark.parametrize("scale", [4.0, [4.0, 4.0], [4.0, 4.001], np.array([4.0]), "4"])
def test_the_forms_of_a_number(tmp_path: Path, scale: Any) -> None:
    """CLAM states the downsampling of a level for both axes, where it states any."""
    path = write_h5(tmp_path / "a.h5", random_features(12), places(3, 4), {"patch_size": 128, "downsample": scale})
    with open_image(path) as image:
        assert image.info.features is not None
        assert image.info.features.patch == pytest.approx(512, rel=1e-3)
        assert image.info.features.states_patch
