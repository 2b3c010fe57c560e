"""Generated images get names, headers and files, and replace nothing unless asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import FitError
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.image_output import check_outputs, numbered, output_info, write_image, writing_bytes

GREY = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))


def test_several_images_get_numbers_before_their_suffix() -> None:
    assert numbered(Path("a/new.tif"), 1) == [Path("a/new.tif")]
    assert numbered(Path("a/new.tif"), 2) == [Path("a/new-0.tif"), Path("a/new-1.tif")]
    assert numbered(Path("new.OME.tif"), 2)[1] == Path("new-1.OME.tif")
    assert numbered(Path("v1.2.png"), 2)[0] == Path("v1.2-0.png")


def test_the_header_follows_from_the_training_images() -> None:
    info = output_info((8, 6), GREY, mpp=0.5)
    assert (info.size, info.channels, info.dtype, info.color, info.mpp) == ((8, 6), 1, np.dtype("uint8"), False, 0.5)
    colors = Preprocessing(channels=3, dtype="uint16", mean=(0.0,) * 3, std=(1.0,) * 3)
    assert (output_info((8, 6), colors).dtype, output_info((8, 6), colors).color) == (np.dtype("uint16"), True)


def test_existing_files_are_replaced_only_if_asked(tmp_path: Path) -> None:
    paths, info = [tmp_path / "a.tif", tmp_path / "b.tif"], output_info((8, 6), GREY)
    check_outputs(paths, False, info)
    assert list(tmp_path.iterdir()) == []
    paths[1].write_bytes(b"precious")
    with pytest.raises(FitError, match=r"b\.tif: .*--overwrite"):
        check_outputs(paths, False, info)
    check_outputs(paths, True, info)
    assert paths[1].read_bytes() == b"precious"
    with pytest.raises(FitError, match="make it first"):
        check_outputs([tmp_path / "missing" / "a.tif"], True, info)


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr", "a.png"])
def test_a_file_holds_the_pixels_that_were_read(tmp_path: Path, name: str) -> None:
    size = (600, 2100)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
    read: list[Window] = []

    def part(window: Window) -> np.ndarray:
        read.append(window)
        return pixels[window.slices()]

    write_image(tmp_path / name, output_info(size, GREY), part, "made by a test", lossless=True)
    assert [window.area for window in read] == [512 * 2048, 512 * 52, 88 * 2048, 88 * 52]
    with open_image(tmp_path / name) as image:
        np.testing.assert_array_equal(image.read(Window(0, 0, *size)), pixels)


def test_a_raster_file_is_written_from_memory() -> None:
    info = output_info((4000, 5000), GREY)
    assert writing_bytes(Path("a.png"), info) == 2 * 4000 * 5000
    assert writing_bytes(Path("a.tif"), info) == writing_bytes(Path("a.tif"), output_info((8, 6), GREY))
