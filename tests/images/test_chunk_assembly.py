"""Chunks that are assembled from windows in any order equal those cut from the finished canvas."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.writer_contract import cut

from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunk_assembly import Assembly
from fitcli.images.pyramid import pyramid_levels
from fitcli.images.window import Window

HEIGHT, WIDTH, CHUNK = 70, 101, 32


def description() -> ImageInfo:
    levels = pyramid_levels(HEIGHT, WIDTH, CHUNK)
    return ImageInfo(height=HEIGHT, width=WIDTH, channels=2, dtype=np.dtype("u2"), levels=levels)


def noise() -> Pixels:
    return np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, 2), np.uint16)


@given(data=st.data())
@settings(max_examples=30)
def test_each_chunk_comes_once_and_complete(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    budget = data.draw(st.sampled_from([1, 20_000, 10**7]))
    folder, canvas = tmp_path_factory.mktemp("assembly"), noise()
    assembly = Assembly(description(), CHUNK, data.draw(st.booleans()), budget, folder)
    windows = cut(HEIGHT, WIDTH, data.draw(st.integers(7, 90)), data.draw(st.integers(7, 120)))
    chunks = {}
    for window in data.draw(st.permutations(windows)):
        for chunk in assembly.add(0, window, canvas[window.slices()]):
            assert (chunk.level, chunk.row, chunk.column) not in chunks
            chunks[chunk.level, chunk.row, chunk.column] = chunk.pixels
    assert sorted(chunks) == [(0, row, column) for row in range(3) for column in range(4)]
    for (_, row, column), pixels in chunks.items():
        expected = canvas[row * CHUNK : (row + 1) * CHUNK, column * CHUNK : (column + 1) * CHUNK]
        np.testing.assert_array_equal(pixels, expected)
    assert assembly.remaining(0) == []
    assembly.close()
    assert os.listdir(folder) == []


@pytest.mark.parametrize("planar", [True, False])
def test_memory_layout(tmp_path: Path, planar: bool) -> None:
    assembly = Assembly(description(), CHUNK, planar, 10**6, tmp_path)
    (chunk,) = assembly.add(0, Window(0, 0, CHUNK, CHUNK), noise()[:CHUNK, :CHUNK])
    assert chunk.pixels.transpose(2, 0, 1).flags.c_contiguous is planar
    assert chunk.pixels.flags.c_contiguous is not planar


@pytest.mark.parametrize("budget", [1, 10**7])
def test_incomplete_chunks_are_zero_where_nothing_was_written(tmp_path: Path, budget: int) -> None:
    assembly, canvas = Assembly(description(), CHUNK, False, budget, tmp_path), np.zeros_like(noise())
    for window in (Window(30, 30, 4, 40), Window(0, 90, 20, 11)):
        canvas[window.slices()] = noise()[window.slices()]
        assert list(assembly.add(0, window, canvas[window.slices()])) == []
    keys = assembly.remaining(0)
    assert keys == [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3), (0, 1, 0), (0, 1, 1), (0, 1, 2)]
    assert assembly.remaining(1) == []
    for key in keys:
        top, left = key[1] * CHUNK, key[2] * CHUNK
        np.testing.assert_array_equal(assembly.take(key).pixels, canvas[top : top + CHUNK, left : left + CHUNK])
    assert assembly.remaining(0) == []
    with pytest.raises(ValueError, match="overlaps pixels that were written earlier"):
        list(assembly.add(0, Window(0, 0, 5, 5), canvas[:5, :5]))


def test_over_the_budget_one_chunk_stays_in_memory(tmp_path: Path) -> None:
    assembly = Assembly(description(), CHUNK, False, 1, tmp_path)
    for row in range(3):
        for column in range(4):
            list(assembly.add(0, Window(row * CHUNK, column * CHUNK, 1, 1), noise()[:1, :1]))
    assert len(assembly._open) == 1
    assert len(assembly.remaining(0)) == 12
    assembly.close()
    assembly.close()
    assert assembly.remaining(0) == []
