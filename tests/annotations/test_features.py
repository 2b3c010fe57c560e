"""The name chooses the format; what cannot be written is one line, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.feature_files import TABLE, info, write

from fitcli.annotations.features import FORMATS, open_features
from fitcli.errors import ImageError
from fitcli.images.georeference import GeoReference


@pytest.mark.parametrize("name", ["p.json", "p.shp", "p", "geojson", "p.geojson.bz2"])
def test_other_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match=rf"{name}: polygons are written as \.geojson, \.geojson\.gz, \.gpkg"):
        open_features(tmp_path / name, TABLE, info())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_georeference_that_is_not_affine(tmp_path: Path, suffix: str) -> None:
    geo = GeoReference(tiepoints=(0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 9.0, 9.0, 0.0, 3.0, 4.0, 0.0))
    with pytest.raises(ImageError, match=r"several tiepoints.*in pixels"):
        open_features(tmp_path / f"p{suffix}", TABLE, info(geo))
    assert not list(tmp_path.iterdir())
    write(tmp_path / f"p{suffix}", geo, pixels=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_missing_folder(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ImageError, match="does not exist; create it first"):
        open_features(tmp_path / "missing" / f"p{suffix}", TABLE, info())
