"""Images that are arrays in memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window


def test_windows_of_all_levels():
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


def test_levels_that_differ_are_refused():
    with pytest.raises(ValueError, match="cannot be"):
        ArrayReader([np.zeros((8, 8, 3)), np.zeros((4, 4, 1))])
