"""Names of the files that a command writes for its images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.tasks.encoding.output_names import plan_outputs


def planned(paths: Sequence[Path], out: Path) -> list[Path]:
    return plan_outputs("--out", paths, out, (".zarr", ".safetensors"), ".zarr")


def test_where_files_go(tmp_path: Path) -> None:
    images = [tmp_path / "a.tif", tmp_path / "b.tif"]
    assert planned(images, tmp_path / "out") == [tmp_path / "out" / "a.zarr", tmp_path / "out" / "b.zarr"]
    assert planned(images[:1], tmp_path / "x.safetensors") == [tmp_path / "x.safetensors"]
    named_alike = [tmp_path / "in" / name for name in ("x/a.tif", "y/a.tif", "y/deep/b.tif")]
    nested = [tmp_path / "out" / name for name in ("x/a.zarr", "y/a.zarr", "y/deep/b.zarr")]
    assert planned(named_alike, tmp_path / "out") == nested
    assert all(path.parent.is_dir() for path in nested)
    for paths, out, why in (
        (images, tmp_path / "x.zarr", "one file for 2 images"),
        ([*images, tmp_path / "A.png"], tmp_path / "out", "a.tif and .*A.png have the same name"),
        (images, tmp_path / "out.h5", "name it .zarr or .safetensors, or give a folder"),
        (images[:1], tmp_path / "missing" / "x.zarr", "make it first"),
        ([tmp_path / "a.zarr"], tmp_path, "would replace what"),
    ):
        with pytest.raises(FitError, match=why):
            planned(paths, out)
