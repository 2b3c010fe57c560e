"""Outputs in a folder have the names of the inputs, in folders of their own if names are equal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.files.output_names import output_names, plan_outputs

OUT = Path("out")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["a.tif", "x/b.png"], ["a.z", "b.z"]),
        (["a.ome.tif"], ["a.z"]),
        (["in/x/a.tif", "in/y/A.tif", "in/y/deep/b.tif"], ["x/a.z", "y/A.z", "y/deep/b.z"]),
        (["x/a.tif", "../a.tif"], None),
        ([], []),
    ],
)
def test_names_are_those_of_the_inputs(inputs: list[str], outputs: list[str] | None) -> None:
    planned = output_names("--out", OUT, [Path(each) for each in inputs], ".z")
    if outputs is None:
        assert len(set(planned)) == len(inputs)
        assert all(path.is_relative_to(OUT) and ".." not in path.parts for path in planned)
    else:
        assert planned == [OUT / each for each in outputs]


def test_inputs_of_one_name_in_one_folder_are_refused() -> None:
    with pytest.raises(FitError, match=r"--heatmap out: x/a.tif and x/A.png have the same name; give one"):
        output_names("--heatmap", OUT, [Path("x/a.tif"), Path("x/A.png")], ".png")


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
