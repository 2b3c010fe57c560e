"""Folders of images: what is an image, and an end to links that lead in circles and to folders of any depth."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fitcli.images.find import find_images
from fitcli.images.open import open_image

ROOT = Path(__file__).parents[2]


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_images(folder).images]


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


def written(folder: Path) -> dict[str, bytes]:
    """The first bytes of a file of each format that Pillow writes and `open_image` reads, by format."""
    starts = {}
    for name in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "QOI", "PCX", "SGI", "TIFF"):
        for mode in ("RGB", "L", "1"):
            try:
                Image.new(mode, (16, 16)).save(folder / "picture", format=name)
            except (OSError, KeyError, ValueError):
                continue  # the format has no such pixels, or this Pillow does not write it
            starts[f"{name} {mode}"] = (folder / "picture").read_bytes()
    return starts


def test_images_of_unusual_suffix_are_found_by_content(tmp_path: Path) -> None:
    starts = written(tmp_path)
    assert len({name.split()[0] for name in starts}) >= 9
    for name, content in starts.items():
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / f"{name}.unusual").write_bytes(content)
    for number, (start, size) in enumerate((("<", 4), (">", 8))):
        tifffile.imwrite(tmp_path / f"a/{number}.LSM", np.zeros((8, 8), "u1"), byteorder=start, bigtiff=size == 8)  # type: ignore[arg-type]
    (tmp_path / "a/without suffix").write_bytes(starts["TIFF RGB"])
    (tmp_path / "a/x.JFIF").write_bytes(starts["JPEG RGB"])
    found = find_images(tmp_path / "a")
    assert found.others == []
    assert len(found.images) == len(starts) + 4
    for path in found.images:
        with open_image(path) as image:
            assert image.info.size in ((16, 16), (8, 8))


TEXTS = (
    b"BMW is a car",
    b"P5 players",
    b"P6",
    b"II. Results",
    b"\n\n\n",
    b"",
    b"GIF",
    b"RIFF....WAVE",
    b"PK\3\4",
    b"%PDF",
)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_no_images(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "unusual.xyz").write_bytes(text + b" and more words of a text")
    (tmp_path / "short").write_bytes(text)
    assert find_images(tmp_path).images == []
    assert len(find_images(tmp_path).others) == 2


def test_files_beside_images_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8), "u1"))
    content = (tmp_path / "a.tif").read_bytes()
    beside = [f"a{suffix}" for suffix in (".ovr", ".tif.msk", ".xml", ".geojson", ".csv", ".TFW", ".tif.aux.xml")]
    hidden = [".hidden.lsm", "Thumbs.db", "desktop.ini"]
    for name in (*beside, *hidden):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("builtins.open", None)
    found = find_images(tmp_path)
    assert [path.name for path in found.images] == ["a.tif"]
    assert sorted(path.name for path in found.others) == sorted(beside), "hidden files do not count"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    assert [path.name for path in find_images(tmp_path).others] == ["circle", "nowhere", "pipe"]


def test_the_files_of_a_folder_without_its_subfolders(folder: Path) -> None:
    found = find_images(folder, deep=False)
    assert [path.name for path in found.images] == ["a.png", "b.png", "slide.zarr"]


def test_one_small_read_per_file_of_unusual_suffix(tmp_path: Path) -> None:
    code = """
import sys
from fitcli.images.find import find_images
seen = []
sys.addaudithook(lambda event, arguments: seen.append(str(arguments[0])) if event == "open" else None)
find_images(sys.argv[1])
print(sum(name.startswith(sys.argv[1]) for name in seen))
"""
    for number in range(200):
        (tmp_path / f"{number}.png").touch()
        (tmp_path / f"{number}.xml").touch()
    (tmp_path / "unusual.lsm").touch()
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == "1\n", result.stderr


def test_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.TIF", "a.png", "notes.txt", ".hidden.png", "deep/er/c.jpg", ".cache/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    zarr.create_array(str(tmp_path / "array"), shape=(4, 4), dtype="u1")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path).images]
    assert found == ["a.png", "array", "b.TIF", "deep/er/c.jpg"]


def test_features_are_images_where_there_are_no_others(tmp_path: Path) -> None:
    for name in ("a.h5", "b/c.npy", "d.HDF5", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path).images] == ["a.h5", "c.npy", "d.HDF5"]
    (tmp_path / "b/slide.tif").touch()
    found = find_images(tmp_path)
    assert [path.name for path in found.images] == ["slide.tif"]
    assert sorted(path.name for path in found.others) == ["a.h5", "c.npy", "d.HDF5", "notes.txt"]
