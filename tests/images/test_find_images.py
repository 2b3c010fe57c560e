"""Folders of images: links that lead in circles and folders of any depth come to an end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fitcli.images.open import find_images


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("a.png", "b/c.png", "b/d/e.png", "b.png", "f/.hidden/g.png", "slide.zarr/.zgroup"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_the_order_is_that_of_the_names(folder: Path) -> None:
    assert names(folder) == ["a.png", "b/c.png", "b/d/e.png", "b.png", "slide.zarr"]


def test_links_in_circles(folder: Path) -> None:
    for link, target in (("x", "."), ("y", "."), ("b/up", ".."), ("b/d/same", "../d"), ("z", folder)):
        (folder / link).symlink_to(target, target_is_directory=True)
    assert names(folder) == ["a.png", "b/c.png", "b/d/e.png", "b.png", "slide.zarr"]


def test_a_link_to_a_folder_elsewhere_is_followed_once(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/image.tif").touch()
    for link in ("f/one", "f/two"):
        (folder / link).symlink_to(tmp_path / "store", target_is_directory=True)
    assert [name for name in names(folder) if name.startswith("f")] == ["f/one/image.tif"]


def test_a_folder_1500_deep(tmp_path: Path) -> None:
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tmp_path)
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        Path("image.png").touch()
    finally:
        os.fchdir(before)
        os.close(before)
    try:
        assert names(tmp_path) == ["d/" * 1500 + "image.png"]
    finally:
        # Python removes folders recursively, which is too deep for it here.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
