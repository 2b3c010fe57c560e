"""Image formats of other packages: found by their suffix, opened like any image, and refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.packages import restored
from support.pictures import save

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.find import find_images
from fitcli.images.formats import FORMATS, added_format
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.window import Window

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with restored(FORMATS):
        yield


def reader(path: Path) -> ArrayReader:
    return ArrayReader(np.load(path), path=path)


def written(path: Path) -> Path:
    with path.open("wb") as file:
        np.save(file, PIXELS)
    return path


def test_a_file_is_opened_and_found_by_its_suffix(tmp_path: Path) -> None:
    for name in ("a.PIX", "b.ome.pix2", "c.czi", "d.pix.txt"):
        written(tmp_path / name)
    for suffix in ("pix", "OME.pix2", "czi"):
        FORMATS.register(suffix, reader)
    assert [path.name for path in find_images(tmp_path).images] == ["a.PIX", "b.ome.pix2", "c.czi"]
    assert [added_format(name) for name in ("a.PIX", "x.ome.pix2", "pix", "a.pix2")] == ["pix", "OME.pix2", None, None]
    for name in ("a.PIX", "b.ome.pix2", "c.czi"):
        with open_image(tmp_path / name) as image:
            np.testing.assert_array_equal(image.read(Window(0, 0, 4, 6)), PIXELS)
    with open_image(tmp_path / "a.PIX", choice=PlaneChoice(channels="2")) as image:
        np.testing.assert_array_equal(image.read(Window(1, 2, 2, 2)), PIXELS[1:3, 2:4, 2:])


def fail(path: Path) -> Any:
    raise RuntimeError("bad header")


def refuse(path: Path) -> Any:
    raise ImageError(path, "is cut off; copy it again")


@pytest.mark.parametrize(
    ("opened", "message"),
    [
        (fail, r"a.pix: cannot be read by the reader of .pix \(RuntimeError: bad header\)"),
        (refuse, "a.pix: is cut off; copy it again"),
        (lambda path: 3, "a.pix: the reader of .pix gives no ImageReader, but 3"),
    ],
    ids=["raises", "refuses", "no reader"],
)
def test_what_a_reader_cannot_do_is_one_line(tmp_path: Path, opened: Any, message: str) -> None:
    FORMATS.register("pix", opened)
    with pytest.raises(ImageError, match=message):
        open_image(written(tmp_path / "a.pix"))


class Wrong(ArrayReader):
    """A reader whose pixels are what a test says."""

    result: Any = None

    def read(self, window: Window, level: int = 0) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (KeyError("x"), r"a.pix: cannot be read by the reader of .pix \(KeyError: 'x'\)"),
        (None, "a.pix: the reader of .pix returns None in place of 2 x 3 x 3 values of uint8; correct that package"),
        (PIXELS, "a.pix: the reader of .pix returns 4 x 6 x 3 values of uint8 in place of 2 x 3 x 3 values of uint8"),
        (PIXELS[:2, :3] / 2, "a.pix: the reader of .pix returns 2 x 3 x 3 values of float64 in place of"),
        (PIXELS[:2, :3, 0], "a.pix: the reader of .pix returns 2 x 3 values of uint8 in place of"),
    ],
    ids=["raises", "none", "whole", "dtype", "flat"],
)
def test_wrong_pixels_are_an_error_of_the_file(tmp_path: Path, result: Any, message: str) -> None:
    FORMATS.register("pix", lambda path: Wrong(PIXELS, path=path))
    with open_image(written(tmp_path / "a.pix")) as image, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wrong, "result", result)
        with pytest.raises(ImageError, match=message):
            image.read(Window(2, 3, 9, 9))
        with pytest.raises(ImageError, match=r"a\.pix: has no level 1"):
            image.read(Window(0, 0, 1, 1), 1)


def test_memory_that_runs_out_in_a_reader_is_no_error_of_the_file(tmp_path: Path) -> None:
    FORMATS.register("pix", lambda path: Wrong(PIXELS, path=path))
    with open_image(written(tmp_path / "a.pix")) as image, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wrong, "result", MemoryError())
        with pytest.raises(MemoryError):
            image.read(Window(0, 0, 2, 2))


def test_other_files_are_opened_as_before(tmp_path: Path) -> None:
    FORMATS.register("pix", fail)
    with open_image(save(tmp_path / "a.png", PIXELS)) as image:
        assert image.info.format == "PNG"
