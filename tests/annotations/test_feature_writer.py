"""A file of polygons appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.feature_files import TABLE, info, polygons, write

from fitcli.annotations.features import FORMATS, open_features
from fitcli.annotations.rings import Polygon
from fitcli.errors import ImageError


def many() -> Iterator[Polygon]:
    """More polygons than fit on a small disk, even packed."""
    rng = np.random.default_rng(0)
    for _ in range(4000):
        ring = rng.integers(0, 1 << 40, (200, 2))
        yield Polygon(0, (np.concatenate([ring, ring[:1]]),), 1)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_is_one_line_and_the_old_file_stays(small_disk: Path, suffix: str) -> None:
    path = write(small_disk / f"p{suffix}")
    before = path.read_bytes()
    with pytest.raises(ImageError, match="the disk is full") as caught, open_features(path, TABLE, info()) as file:
        file.write(many())
    assert "\n" not in str(caught.value)
    assert [each.name for each in small_disk.iterdir()] == [path.name]
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_elsewhere_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    def failing() -> Iterator[Polygon]:
        yield polygons()[0]
        raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"), open_features(tmp_path / f"p{suffix}", TABLE, info()) as file:
        file.write(failing())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_polygons_arrive_in_parts(tmp_path: Path, suffix: str) -> None:
    found = polygons()
    with open_features(tmp_path / f"a{suffix}", TABLE, info()) as file:
        file.write(found[:3])
        file.write([])
        file.write(iter(found[3:]))
        assert not (tmp_path / f"a{suffix}").exists()
    if suffix != ".gpkg":
        assert (tmp_path / f"a{suffix}").read_bytes() == write(tmp_path / f"b{suffix}").read_bytes()
