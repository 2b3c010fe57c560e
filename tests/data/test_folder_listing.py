"""Folders of images as data sets: one form of names, what is passed over, and errors that say what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.data_sets import touch

from fitcli.data.dataset import load_dataset
from fitcli.data.folder_listing import read_folder
from fitcli.errors import DataError

NFC, NFD = "K\u00e4se", "Ka\u0308se"


def test_two_forms_of_a_name_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/{number}{folder}.png" for folder in (NFC, NFD, "Brot") for number in range(3)))
    rows = read_folder(tmp_path, "needed").rows
    assert {row.labels for row in rows} == {(NFC,), ("Brot",)}
    data = load_dataset(tmp_path)
    assert data.classes == ("Brot", NFC)
    assert sum(len(samples) for samples in (data.train, data.validation)) == 9


def test_a_data_set_in_either_form_is_the_same(tmp_path: Path) -> None:
    for name in (NFC, NFD):
        touch(tmp_path / str(len(name)), *(f"{label}/{name}{n}.png" for label in (name, "x") for n in range(5)))
    one, other = (load_dataset(tmp_path / str(len(name))) for name in (NFC, NFD))
    assert one.fingerprint == other.fingerprint
    assert one.listed == other.listed


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{number}.png" for label in "ab" for number in range(3)))
    assert read_folder(tmp_path, "needed").notes == ()
    touch(tmp_path, "a/1.czi", "a/2.czi", "b/notes.docx", "b/3.xml", "a/.hidden.czi", "b/Thumbs.db", "truth.json")
    notes = (
        "2 files passed over: a/1.czi, a/2.czi; each is a Zeiss CZI image, which fit does not read; convert it with "
        "`bioformats2raw 1.czi 1.zarr`, or `bfconvert 1.czi 1.ome.tif`",
        "2 files passed over: b/3.xml, b/notes.docx",
    )
    assert read_folder(tmp_path, "needed").notes == notes
    touch(tmp_path, "c/5.CZI", "large.tif")
    assert read_folder(tmp_path, "needed").notes == (
        notes[0].replace("2 files passed over: a/1.czi, a/2.czi", "3 files passed over: a/1.czi, a/2.czi, c/5.CZI"),
        notes[1],
        "1 image passed over, in no class folder: large.tif",
        "no class, without images: c",
    )
    assert load_dataset(tmp_path).notes == read_folder(tmp_path, "needed").notes
    # A model without classes takes the class folders, too.
    assert load_dataset(tmp_path, "welcome").notes == load_dataset(tmp_path).notes


def test_images_of_unusual_suffix_belong_to_their_class(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a/{number}.png" for number in range(3)))
    for number, suffix in enumerate((".btf", ".lsm", ".qptiff", "", ".TIF", ".Unusual")):
        (tmp_path / "b").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / f"b/{number}{suffix}", np.zeros((8, 8), "u1"))
    rows = read_folder(tmp_path, "needed").rows
    assert sum(row.labels == ("b",) for row in rows) == 6


@pytest.mark.parametrize("folder", ["", "train/"])
def test_a_flat_folder_of_images(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, *(f"{folder}{number}.svs" for number in range(60)))
    with pytest.raises(
        DataError, match=r": 60 images, but no class folders; .*one subfolder per class, or .* CSV file"
    ):
        read_folder(tmp_path, "needed")
    assert len(read_folder(tmp_path, "welcome").rows) == 60


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.czi", "a/2.czi", "b/3.nd2", "list.csv")
    for labels in ("needed", "welcome"):
        with pytest.raises(
            DataError,
            match=r": no images found \(2 files .*a/2\.czi; each is a Zeiss .*b/3\.nd2; it is a Nikon ",
        ):
            read_folder(tmp_path, labels)  # type: ignore[arg-type]
