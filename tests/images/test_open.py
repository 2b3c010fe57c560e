"""Opening and creating images: which format is chosen, and which paths are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from support.privileges import no_privileges, public_folder
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, matching_paths, open_image, stored_bytes
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
def test_files_that_are_not_images(tmp_path: Path, name: str):
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
def test_messages_for_missing_paths(path: str, words: str):
    with pytest.raises(ImageError, match=words):
        open_image(path)


def test_places_without_an_image(tmp_path: Path):
    with pytest.raises(ImageError, match="no such file"):
        open_image(tmp_path / "missing")
    with pytest.raises(ImageError, match="folder without a zarr"):
        open_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be opened"):
        open_image("a\0b")


def test_pipes_and_devices_do_not_block(tmp_path: Path):
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


@pytest.mark.parametrize(("asked", "stored"), [("K\u00e4se", "Ka\u0308se"), ("Ka\u0308se", "K\u00e4se")])
def test_a_path_in_another_unicode_form(tmp_path: Path, asked: str, stored: str):
    (tmp_path / stored).mkdir()
    (tmp_path / stored / "a[1].png").touch()
    assert matching_paths([f"{tmp_path}/{asked}/a[1].png"]) == [tmp_path / stored / "a[1].png"]


def test_patterns(tmp_path: Path):
    for name in ("a1.png", "a2.png", "a[1].png", "deep/a3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def expanded(*patterns: str) -> list[str]:
        paths = matching_paths(str(tmp_path / pattern) for pattern in patterns)
        return [path.relative_to(tmp_path).as_posix() for path in paths]

    assert expanded("a?.png") == ["a1.png", "a2.png"]
    assert expanded("**/a3.png", "a1.png") == ["deep/a3.png", "a1.png"]
    assert expanded("a[1].png") == ["a[1].png"], "a file of this name exists"
    assert expanded("*.gif", "missing") == ["*.gif", "missing"], "opening them is an error with a reason"


# Images that are created and opened again.


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.zarr", "x.ome.zarr"])
@pytest.mark.parametrize(
    ("channels", "dtype", "extra"),
    [
        (1, "u2", {"mpp": 0.25}),
        (3, "u1", {"mpp": 0.5, "color": True}),
        (4, "u1", {"color": True}),
        (5, "i2", {"mpp": 2.0}),
        (1, "f4", {}),
        (2, "f8", {}),
    ],
)
def test_same_info_and_pixels(tmp_path: Path, name: str, channels: int, dtype: str, extra: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (75, 110, channels)).astype(dtype)
    info = ImageInfo(height=75, width=110, channels=channels, dtype=pixels.dtype, **extra)
    options: dict[str, Any] = {} if name.endswith("zarr") else {"compression": "deflate"}
    with create_image(tmp_path / name, info, chunk=32, **options) as written:
        written.write(Window(0, 0, 75, 110), pixels)
    with open_image(tmp_path / name) as image:
        # Alpha is told by the file; OME-Zarr always has coordinates and names.
        found = replace(image.info, mpp=None, alpha=False, ngff_transform=None, channel_names=())
        assert found == replace(written.info, mpp=None)
        assert image.info.mpp == pytest.approx(written.info.mpp)
        np.testing.assert_array_equal(image.read(Window(0, 0, 75, 110)), pixels)


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.zarr"])
@pytest.mark.parametrize(("dtype", "nodata"), [("f4", -9999.0), ("f4", -3.4028234663852886e38), ("f4", float("nan")),
                                               ("f8", 0.1), ("u1", 0.0), ("i2", -32768.0), ("f4", None)])  # fmt: skip
def test_nodata(tmp_path: Path, name: str, dtype: str, nodata: float | None) -> None:
    info = ImageInfo(height=20, width=20, channels=1, dtype=np.dtype(dtype), nodata=nodata)
    with create_image(tmp_path / name, info):
        pass
    with open_image(tmp_path / name) as image:
        assert image.info.nodata == nodata or (np.isnan(nodata) and np.isnan(image.info.nodata))


@pytest.mark.parametrize("value", [True, [1], {}, "none", 10**400, None])
def test_an_attribute_of_zarr_that_is_no_nodata_value(tmp_path: Path, value: object) -> None:
    zarr.create_array(str(tmp_path / "x.zarr"), shape=(8, 8), dtype="u1", attributes={"_FillValue": value})
    with open_image(tmp_path / "x.zarr") as image:
        assert image.info.nodata is None


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.zarr"])
def test_small_images_have_small_chunks(tmp_path: Path, name: str) -> None:
    info = ImageInfo(height=20, width=50, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(tmp_path / name, info, compression="none"):
        pass
    with open_image(tmp_path / name) as image:
        assert image.info.chunk == (64, 64)


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_raster(tmp_path: Path, name: str) -> None:
    pixels = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    with create_image(tmp_path / name, ImageInfo(height=20, width=30, channels=3, dtype=pixels.dtype)) as written:
        written.write(Window(0, 0, 20, 30), pixels)
    with open_image(tmp_path / name) as image:
        assert (image.info.format, image.info.size, image.info.color) == (written.info.format, (20, 30), True)
        assert np.abs(image.read(Window(0, 0, 20, 30)).astype(int) - pixels).max() <= 3


@pytest.mark.parametrize("name", ["x.bmp", "x", "x.tif.gz", "tif"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=r"\.ome\.tif.*\.zarr.*\.png"):
        create_image(tmp_path / name, ImageInfo(height=10, width=10, channels=3, dtype=np.dtype("u1")))
    assert not list(tmp_path.iterdir())
