"""Outputs in a folder have the names of the inputs, in folders of their own if names are equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.files.output_names import output_names

OUT = Path("out")


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["a.tif", "x/b.png"], ["a.z", "b.z"]),
        (["a.ome.tif"], ["a.ome.z"]),
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
