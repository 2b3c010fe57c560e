"""What `open_image` says to things that are no image, and images in memory."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from support.privileges import no_privileges, public_folder
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.open import open_image, stored_bytes
from fitcli.images.window import Window


def test_format_is_recognised_by_content(tmp_path: Path):
    pixels = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    tifffile.imwrite(tmp_path / "image.png", pixels)
    Image.fromarray(pixels).save(tmp_path / "image.tif", "PNG")
    for name, expected in (("image.png", "TIFF"), ("image.tif", "PNG")):
        with open_image(tmp_path / name) as reader:
            assert reader.info.format == expected
            assert_equal(read_all(reader), pixels)


def test_path_may_be_a_string(tmp_path: Path):
    tifffile.imwrite(tmp_path / "image", np.zeros((8, 8), np.uint8))
    with open_image(str(tmp_path / "image")) as reader:
        assert reader.path == tmp_path / "image"


CONTENTS = {
    "empty": (b"", "empty"),
    "text": (b"path,label\nimage.tif,3\n", "not an image that fit can read"),
    "zip": (b"PK\3\4" + bytes(50), "unpack"),
    "four bytes of TIFF": (b"II*\0", "cannot be read as TIFF"),
    "TIFF without pages": (b"II*\0\0\0\0\0" + bytes(50), "holds no image|cannot be read as TIFF"),
    "TIFF that points beyond its end": (b"II*\0\xff\xff\xff\x7f", "holds no image|cannot be read as TIFF"),
    "start of a PNG": (b"\x89PNG\r\n\x1a\n", "not an image that fit can read|cannot be read"),
    "zeros": (bytes(1000), "not an image that fit can read"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_images(tmp_path: Path, name: str):
    data, reason = CONTENTS[name]
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=reason) as raised:
        open_image(path)
    assert raised.value.path == path
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("https://example.org/a.tif", "is an address, not a file"),
        ("s3://bucket/a.zarr", "is an address, not a file"),
        ("*.svs", "no file matches this pattern"),
        ("a.tif", "no such file or folder"),
    ],
)
def test_what_is_not_there_is_told_apart(path: str, words: str):
    with pytest.raises(ImageError, match=words):
        open_image(path)


def test_places_without_an_image(tmp_path: Path):
    with pytest.raises(ImageError, match="no such file"):
        open_image(tmp_path / "missing")
    with pytest.raises(ImageError, match="folder without a zarr"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be opened"):
        open_image("a\0b")


@pytest.mark.timeout(10)
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/zero")):
        with pytest.raises(ImageError, match="neither a file nor a folder"):
            open_image(path)


def test_file_without_permission():
    with public_folder() as folder:
        (folder / "image").write_bytes(b"II*\0")
        (folder / "image").chmod(0)
        with no_privileges(), pytest.raises(ImageError, match="permission"):
            open_image(folder / "image")


def test_chunk_without_permission():
    with public_folder() as folder:
        array = zarr.create_array(str(folder / "image"), shape=(32, 32), dtype="u1", chunks=(16, 16))
        array[...] = 1
        (folder / "image/c/1/1").chmod(0)
        with open_image(folder / "image") as reader:
            assert reader.read(Window(0, 0, 16, 32)).all()
            with no_privileges(), pytest.raises(ImageError, match=r"(?i)permission"):
                reader.read(Window(16, 16, 16, 16))


def test_opening_an_image_does_not_import_torch(tmp_path: Path):
    tifffile.imwrite(tmp_path / "image", np.zeros((8, 8), np.uint8))
    code = "import sys; from fitcli.images.open import open_image; print('tifffile' in sys.modules, end=' ')\n"
    code += f"open_image({str(tmp_path / 'image')!r}); print('torch' in sys.modules, 'zarr' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False", "False"]


def test_stored_bytes(tmp_path: Path):
    (tmp_path / "a").write_bytes(bytes(10))
    assert stored_bytes(tmp_path / "a") == 10
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(bytes(5))
    assert stored_bytes(tmp_path) == 15


def test_array_reader():
    levels = [np.random.default_rng(0).integers(0, 9, (20 >> level, 30 >> level, 3), np.uint8) for level in range(3)]
    reader = ArrayReader(levels, mpp=0.5)
    assert [level.downsample for level in reader.info.levels] == [1, 2, 4]
    assert reader.info.color
    window = Window(-2, 5, 9, 100)
    for number, level in enumerate(levels):
        pixels = reader.read(window, number)
        assert_equal(pixels, level[:7, 5:])
        pixels[...] = 0
    with pickle.loads(pickle.dumps(reader)) as other:
        assert other.info == reader.info
        assert_equal(read_all(other), levels[0])
    with pytest.raises(ImageError, match="no level 3"):
        reader.read(window, 3)
    reader.close()
    with pytest.raises(ImageError, match="closed"):
        reader.read(window)


def test_array_reader_refuses_levels_that_differ():
    with pytest.raises(ValueError, match="cannot be"):
        ArrayReader([np.zeros((8, 8, 3)), np.zeros((4, 4, 1))])
