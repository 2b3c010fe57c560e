"""Tests of what every canvas (`ImageWriter`) promises. A format inherits them.

A subclass defines the name of a file, its kind of pixels, and how independent software reads it back.
"""

from __future__ import annotations

import errno
import os
import random
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.privileges import no_privileges, public_folder

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, ImageWriter, Pixels
from fitcli.images.open import create_image
from fitcli.images.window import Window

HEIGHT, WIDTH = 150, 235


def cut(height: int, width: int, rows: int, columns: int) -> list[Window]:
    """Return disjoint windows of at most `rows` x `columns` that cover an image, row by row."""
    return [
        Window(top, left, min(rows, height - top), min(columns, width - left))
        for top in range(0, height, rows)
        for left in range(0, width, columns)
    ]


def halved(pixels: Pixels) -> Pixels:
    """Return the slow obvious 2 x 2 mean: odd last row and column repeated, NaN left out, integers rounded half up."""
    height, width, channels = pixels.shape
    padded = np.pad(pixels.astype(np.float64), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    small = np.zeros((padded.shape[0] // 2, padded.shape[1] // 2, channels))
    for row, column in np.ndindex(*small.shape[:2]):
        squares = padded[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(4, channels)
        present = ~np.isnan(squares)
        count = present.sum(axis=0)
        total = np.where(present, squares, 0).sum(axis=0)
        small[row, column] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return (np.floor(small + 0.5) if pixels.dtype.kind in "iu" else small).astype(pixels.dtype)


class WriterContract(ABC):
    """Inherit, and every `test_...` below runs for the format."""

    name: str
    channels = 3
    dtype: Any = np.uint8
    color = True
    options: dict[str, Any] = {"chunk": 32}  # noqa: RUF012
    tolerance = 0
    """Largest difference of a sample that the compression may cause on `picture`."""

    @abstractmethod
    def read_back(self, path: Path) -> list[Pixels]:
        """Read all levels [height, width, channels] with other software than fit."""

    @pytest.fixture(autouse=True)
    def _do_not_wait_for_the_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    @property
    def picture(self) -> Pixels:
        """Return a slope in each channel."""
        rows, columns, channels = np.ogrid[:HEIGHT, :WIDTH, : self.channels]
        return (40 + rows // 2 + columns // 3 + 10 * channels).astype(self.dtype)

    def create(self, path: Path, **options: Any) -> ImageWriter:
        height, width, channels = self.picture.shape
        info = ImageInfo(height=height, width=width, channels=channels, dtype=self.picture.dtype, color=self.color)
        return create_image(path, info, **{**self.options, **options})

    def check(self, path: Path, expected: Pixels) -> None:
        stored = self.read_back(path)[0]
        assert stored.shape == expected.shape
        assert stored.dtype == expected.dtype
        difference = np.abs(stored.astype(np.float64) - expected.astype(np.float64))
        assert difference.max() <= self.tolerance

    @pytest.mark.parametrize("rows", [32, 37, 1000])
    def test_windows_row_by_row(self, tmp_path: Path, rows: int) -> None:
        path = tmp_path / self.name
        with self.create(path) as image:
            for window in cut(HEIGHT, WIDTH, rows, rows + 9):
                image.write(window, self.picture[window.slices()])
            assert not path.exists(), "the target appears only when the canvas is closed"
        self.check(path, self.picture)
        assert os.listdir(tmp_path) == [self.name]

    @pytest.mark.parametrize("memory_bytes", [1, 20_000, 10**8])
    def test_windows_in_any_order(self, tmp_path: Path, memory_bytes: int) -> None:
        windows = cut(HEIGHT, WIDTH, 41, 23)
        random.Random(1).shuffle(windows)
        with self.create(tmp_path / self.name, memory_bytes=memory_bytes) as image:
            for window in windows:
                image.write(window, self.picture[window.slices()])
        self.check(tmp_path / self.name, self.picture)

    def test_threads_write_together(self, tmp_path: Path) -> None:
        windows = cut(HEIGHT, WIDTH, 19, 27)
        random.Random(2).shuffle(windows)
        with self.create(tmp_path / self.name, memory_bytes=30_000) as image, ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda window: image.write(window, self.picture[window.slices()]), windows))
        self.check(tmp_path / self.name, self.picture)

    def test_pixels_may_be_reused_after_write(self, tmp_path: Path) -> None:
        with self.create(tmp_path / self.name) as image:
            for window in cut(HEIGHT, WIDTH, 32, 32):
                pixels = self.picture[window.slices()].copy()
                image.write(window, pixels)
                pixels[...] = 0
        self.check(tmp_path / self.name, self.picture)

    def test_what_is_never_written_is_zero(self, tmp_path: Path) -> None:
        window = Window(40, 50, 50, 100)
        with self.create(tmp_path / self.name) as image:
            image.write(window, self.picture[window.slices()])
        stored = self.read_back(tmp_path / self.name)[0]
        assert not stored[:16].any()
        assert not stored[-16:].any()
        if not self.tolerance:
            expected = np.zeros_like(self.picture)
            expected[window.slices()] = self.picture[window.slices()]
            self.check(tmp_path / self.name, expected)

    def test_nothing_written_at_all(self, tmp_path: Path) -> None:
        with self.create(tmp_path / self.name) as image:
            image.write(Window(0, 0, 0, 0), self.picture[:0, :0])
        self.check(tmp_path / self.name, np.zeros_like(self.picture))

    @pytest.mark.parametrize(
        "window", [Window(-1, 0, 10, 10), Window(0, -1, 10, 10), Window(145, 0, 10, 10), Window(0, 230, 10, 10)]
    )
    def test_window_must_lie_on_the_image(self, tmp_path: Path, window: Window) -> None:
        with self.create(tmp_path / self.name) as image, pytest.raises(ValueError, match="does not lie on the image"):
            image.write(window, self.picture[:10, :10])

    def test_pixels_must_fit_the_image(self, tmp_path: Path) -> None:
        window = Window(0, 0, 10, 12)
        with self.create(tmp_path / self.name) as image:
            for wrong in (self.picture[:12, :10], self.picture[:10, :12, :, None], self.picture[:10, :12, 0]):
                with pytest.raises(ValueError, match="shape"):
                    image.write(window, wrong)
            with pytest.raises(ValueError, match="pixels, not"):
                image.write(window, self.picture[:10, :12].astype(np.complex64))
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)
        self.check(tmp_path / self.name, self.picture)

    def test_discard_leaves_nothing(self, tmp_path: Path) -> None:
        image = self.create(tmp_path / self.name, memory_bytes=1)
        for window in cut(HEIGHT, WIDTH, 41, 23)[:10]:
            image.write(window, self.picture[window.slices()])
        image.discard()
        image.discard()
        image.close()
        assert os.listdir(tmp_path) == []

    def test_exception_leaves_the_old_image(self, tmp_path: Path) -> None:
        path = tmp_path / self.name
        with self.create(path) as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)

        def interrupted() -> None:
            with self.create(path) as image:
                image.write(Window(0, 0, 100, 100), self.picture[:100, :100] + 1)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        self.check(path, self.picture)
        assert os.listdir(tmp_path) == [self.name]

    def test_replaces_the_old_image(self, tmp_path: Path) -> None:
        path = tmp_path / self.name
        with self.create(path):
            pass
        with self.create(path) as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)
        self.check(path, self.picture)
        assert os.listdir(tmp_path) == [self.name]

    def test_replaces_what_a_link_points_to(self, tmp_path: Path) -> None:
        with self.create(tmp_path / self.name):
            pass
        link = tmp_path / f"link-{self.name}"
        link.symlink_to(self.name)
        with self.create(link) as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)
        assert link.is_symlink()
        self.check(tmp_path / self.name, self.picture)

    def test_write_after_close(self, tmp_path: Path) -> None:
        with self.create(tmp_path / self.name) as image:
            pass
        image.close()
        with pytest.raises(ImageError, match="closed"):
            image.write(Window(0, 0, 10, 10), self.picture[:10, :10])

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="does not exist"):
            self.create(tmp_path / "nowhere" / self.name)
        (tmp_path / "file").touch()
        with pytest.raises(ImageError, match="is not a folder"):
            self.create(tmp_path / "file" / self.name)

    def test_folder_without_permission(self, tmp_path: Path) -> None:
        with self.create(tmp_path / self.name):
            pass  # imports modules that a user without privileges may not be able to read
        with public_folder() as folder:
            folder.chmod(0o500)
            with no_privileges(), pytest.raises(ImageError, match="permission"):
                self.create(folder / self.name)
            assert not list(folder.iterdir())

    def test_something_else_is_not_replaced(self, tmp_path: Path) -> None:
        (tmp_path / self.name).mkdir()
        (tmp_path / self.name / "thesis.txt").touch()
        with pytest.raises(ImageError, match="choose another name"):
            self.create(tmp_path / self.name)
        assert (tmp_path / self.name / "thesis.txt").exists()

    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def pwrite(*_: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "pwrite", pwrite)
        path = tmp_path / self.name
        with pytest.raises(ImageError, match="the disk is full") as caught, self.create(path) as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)
        assert caught.value.path == path
        assert os.listdir(tmp_path) == []
        with pytest.raises(ImageError, match="closed"):
            image.write(Window(0, 0, 1, 1), self.picture[:1, :1])

    def test_disk_fills_up_while_closing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def replace(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", replace)
        monkeypatch.setattr(os, "rename", replace)
        with pytest.raises(ImageError, match="the disk is full"), self.create(tmp_path / self.name) as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)
        assert os.listdir(tmp_path) == []


class PyramidContract(WriterContract):
    """Formats with levels; lossless as configured."""

    def test_levels_are_means_of_the_level_before(self, tmp_path: Path) -> None:
        path = tmp_path / self.name
        noise = np.random.default_rng(3).integers(0, 250, self.picture.shape).astype(self.dtype)
        windows = cut(HEIGHT, WIDTH, 41, 23)
        random.Random(4).shuffle(windows)
        with self.create(path, memory_bytes=40_000) as image:
            for window in windows:
                image.write(window, noise[window.slices()])
        levels = self.read_back(path)
        sizes = [(150, 235), (75, 118), (38, 59), (19, 30)]
        assert [level.shape[:2] for level in levels] == sizes
        assert [(level.height, level.width) for level in image.info.levels] == sizes
        assert [level.downsample for level in image.info.levels] == [1, 2, 4, 8]
        expected = noise
        for level in levels:
            np.testing.assert_array_equal(level, expected)
            expected = halved(expected)

    def test_nearest_keeps_labels(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(5).integers(0, 250, self.picture.shape).astype(self.dtype)
        with self.create(tmp_path / self.name, resampling="nearest") as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), noise)
        for number, level in enumerate(self.read_back(tmp_path / self.name)):
            np.testing.assert_array_equal(level, noise[:: 2**number, :: 2**number])

    @pytest.mark.parametrize(("levels", "expected"), [(1, 1), (2, 2), (100, 9)])
    def test_number_of_levels(self, tmp_path: Path, levels: int, expected: int) -> None:
        with self.create(tmp_path / self.name, levels=levels) as image:
            image.write(Window(0, 0, HEIGHT, WIDTH), self.picture)
        assert len(self.read_back(tmp_path / self.name)) == expected == len(image.info.levels)

    def test_overlap_that_is_noticed(self, tmp_path: Path) -> None:
        with self.create(tmp_path / self.name) as image:
            image.write(Window(0, 0, 96, 96), self.picture[:96, :96])
            with pytest.raises(ValueError, match="overlaps"):
                image.write(Window(0, 0, 96, 96), self.picture[:96, :96])
            image.write(Window(96, 0, 54, 235), self.picture[96:])
            image.write(Window(0, 96, 96, 130), self.picture[:96, 96:226])
            with pytest.raises(ValueError, match="overlaps"):
                image.write(Window(0, 225, 96, 10), self.picture[:96, 225:])
            image.write(Window(0, 226, 96, 9), self.picture[:96, 226:])
        self.check(tmp_path / self.name, self.picture)
