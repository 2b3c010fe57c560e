"""Tests of what every image reader promises. A format inherits them, and provides the fixture `case`."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.open import open_image
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice
from fitcli.images.window import Window


@dataclass(frozen=True)
class Case:
    """An image on disk, and its expected pixels [height, width, channels] per level, with a choice of planes."""

    path: Path
    levels: Sequence[Pixels]
    choice: PlaneChoice = EVERYTHING


def windows(height: int, width: int) -> list[Window]:
    """Return windows inside, at and beyond the edges of an image, and empty ones."""
    return [
        Window(0, 0, height, width),
        Window(height // 3, width // 4, max(height // 5, 1), max(width // 3, 1)),
        Window(-5, -7, 12, 20),
        Window(height - 3, width - 2, 50, 60),
        Window(-10, width // 2, height + 20, 1),
        Window(height // 2, -1, 1, width + 2),
        Window(height // 2, width // 2, 0, 5),
        Window(height + 4, 0, 3, 3),
        Window(-20, -20, 5, 5),
    ]


def cut(pixels: Pixels, window: Window) -> Pixels:
    """Return the pixels that `read` must return for a window of an image in memory."""
    return pixels[window.clip(*pixels.shape[:2]).slices()]


def assert_equal(actual: Pixels, expected: Pixels) -> None:
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def read_all(reader: ImageReader, level: int = 0) -> Pixels:
    height, width = reader.info.levels[level].height, reader.info.levels[level].width
    return reader.read(Window(0, 0, height, width), level)


def random_windows(height: int, width: int, count: int, seed: int = 0) -> list[Window]:
    rng = np.random.default_rng(seed)
    return [
        Window(
            int(rng.integers(-8, height)),
            int(rng.integers(-8, width)),
            int(rng.integers(1, height)),
            int(rng.integers(1, width)),
        )
        for _ in range(count)
    ]


class ReaderContract:
    """Inherit, and every `test_...` below runs for the format."""

    @pytest.fixture
    def reader(self, case: Case):
        with open_image(case.path, choice=case.choice) as reader:
            yield reader

    def test_info_describes_what_is_read(self, case: Case, reader: ImageReader):
        info, base = reader.info, case.levels[0]
        assert (info.height, info.width, info.channels) == base.shape
        assert info.dtype == base.dtype
        assert info.dtype.isnative
        assert [(level.height, level.width) for level in info.levels] == [level.shape[:2] for level in case.levels]
        assert info.levels[0].downsample == 1.0
        assert all(a.downsample < b.downsample for a, b in zip(info.levels, info.levels[1:], strict=False))
        assert info.chunk is None or min(info.chunk) > 0
        assert info.format
        assert info.axes

    def test_windows_are_clipped_and_equal(self, case: Case, reader: ImageReader):
        for number, level in enumerate(case.levels):
            for window in windows(*level.shape[:2]):
                assert_equal(reader.read(window, number), cut(level, window))

    def test_random_windows_are_equal_in_any_order(self, case: Case, reader: ImageReader):
        for window in random_windows(*case.levels[0].shape[:2], count=20):
            assert_equal(reader.read(window), cut(case.levels[0], window))

    def test_result_belongs_to_the_caller(self, case: Case, reader: ImageReader):
        for _ in range(2):
            pixels = read_all(reader)
            assert pixels.flags.writeable
            assert_equal(pixels, case.levels[0])
            pixels[...] = 0

    def test_threads_read_the_same(self, case: Case, reader: ImageReader):
        base = case.levels[0]
        places = random_windows(*base.shape[:2], count=32, seed=1)
        with ThreadPoolExecutor(8) as pool:
            for window, pixels in zip(places, pool.map(reader.read, places), strict=True):
                assert_equal(pixels, cut(base, window))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    @pytest.mark.walk(4)
    def test_forked_processes_read_the_same(self, case: Case, reader: ImageReader):
        read_all(reader)
        children = []
        for number in range(2):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    assert_equal(read_all(reader), case.levels[0])
                    for window in random_windows(*case.levels[0].shape[:2], count=5, seed=number):
                        assert_equal(reader.read(window), cut(case.levels[0], window))
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(status)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 2
        assert_equal(read_all(reader), case.levels[0])

    def test_pickled_reader_reads_the_same(self, case: Case, reader: ImageReader):
        with pickle.loads(pickle.dumps(reader)) as other:
            assert other.info == reader.info
            assert_equal(read_all(other), case.levels[0])

    def test_closed_reader_raises(self, case: Case):
        reader = open_image(case.path, choice=case.choice)
        read_all(reader)
        reader.close()
        reader.close()
        with pytest.raises(ImageError, match="closed"):
            reader.read(Window(0, 0, 1, 1))

    def test_levels_that_do_not_exist_raise(self, case: Case, reader: ImageReader):
        for level in (-1, len(case.levels)):
            with pytest.raises(ImageError, match="no level"):
                reader.read(Window(0, 0, 1, 1), level)
