"""Files of formats that are not read: never taken for an image, and named with the program that converts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from fitcli.errors import ImageError
from fitcli.images.find import find_images
from fitcli.images.foreign import DISGUISED, FORMATS, SLIDE_DATA, Foreign, foreign_by_content, foreign_by_name
from fitcli.images.open import open_image


@pytest.mark.parametrize("foreign", FORMATS, ids=lambda foreign: foreign.name)
def test_each_is_named_with_its_command(tmp_path: Path, foreign: Foreign) -> None:
    for at, mark in foreign.starts or ((0, b""),):
        content = b"\x01" * at + mark + b"\x01" * 600
        for name in (f"x{foreign.suffixes[0]}", f"X{foreign.suffixes[-1].upper()}", *(["x.any"] if mark else [])):
            path = tmp_path / name
            path.write_bytes(content)
            assert foreign_by_content(path) is foreign
            with pytest.raises(ImageError) as caught:
                open_image(path)
            message = str(caught.value)
            assert f"is {foreign.name}, which fit does not read; convert it with `" in message
            assert f"{path.name} {path.stem}." in message
            assert "damaged" not in message
            found = find_images(tmp_path)
            assert (found.images, found.others) == ([], [path])
            path.unlink()


@pytest.mark.parametrize("start", [b"#?RADIANCE\n", b"#?RGBE\n"])
def test_the_content_comes_before_the_suffix(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.hdr"
    path.write_bytes(start + b"FORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n\0\0\0\0")
    with pytest.raises(ImageError, match="is a Radiance image, which fit does not read; convert it with `vips"):
        open_image(path)


def test_a_suffix_belongs_to_one_format() -> None:
    suffixes = [suffix for foreign in FORMATS for suffix in foreign.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert {suffix.lower() for suffix in suffixes} == set(suffixes)


@pytest.mark.parametrize("suffix", sorted(DISGUISED))
@pytest.mark.parametrize("thumbnail", ["JPEG", "TIFF", "JPEG2000"])
def test_a_slide_is_never_its_thumbnail(tmp_path: Path, suffix: str, thumbnail: str) -> None:
    path = tmp_path / f"slide{suffix}"
    Image.new("RGB", (30, 20)).save(path, thumbnail)
    with pytest.raises(ImageError, match="convert it with"):
        open_image(path)
    assert find_images(tmp_path).images == []


def test_the_data_of_a_mirax_slide_are_no_files_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "slide").mkdir()
    for name in (SLIDE_DATA, "Index.dat", "Data0000.dat"):
        (tmp_path / "slide" / name).write_bytes(b"\xff\xd8\xff")
    (tmp_path / "slide.mrxs").write_bytes(b"\xff\xd8\xff")
    assert [path.name for path in find_images(tmp_path).others] == ["slide.mrxs"]


def test_content_decides_for_other_suffixes(tmp_path: Path) -> None:
    path = tmp_path / "scene.img"
    tifffile.imwrite(path, np.zeros((8, 9), "u1"))
    assert foreign_by_name(path) is not None
    assert find_images(tmp_path).images == [path]
    with open_image(path) as image:
        assert image.info.size == (8, 9)
