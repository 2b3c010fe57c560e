"""Choices of planes at the end of a path, and files whose names look like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.errors import ImageError
from fitcli.files.path_choice import choice_text, output_stem, split_choice, split_pattern, stored_path


@pytest.mark.parametrize(
    ("name", "ending", "choices"),
    [
        ("a.tif", "#series=1&z=3", {"series": "1", "z": "3"}),
        ("a#1.tif", "#z=max", {"z": "max"}),
        ("plate.zarr", "#series=A/1/0", {"series": "A/1/0"}),
        ("a.tif", "#channels=a%23b, 488%26c,2", {"channels": "a#b, 488&c,2"}),
        ("a.tif", "#series=my image&mpp=0.5", {"series": "my image", "mpp": "0.5"}),
    ],
)
def test_a_choice_is_split_from_a_file_that_exists(
    tmp_path: Path, name: str, ending: str, choices: dict[str, str]
) -> None:
    (tmp_path / name).touch()
    path = Path(f"{tmp_path / name}{ending}")
    assert split_choice(path) == (tmp_path / name, choices)
    assert stored_path(path) == tmp_path / name
    assert split_choice(f"{tmp_path / name}#{choice_text(choices)}") == (tmp_path / name, choices)


def test_a_file_of_that_name_comes_first(tmp_path: Path) -> None:
    for name in ("a.tif", "a.tif#z=3"):
        (tmp_path / name).touch()
    path = tmp_path / "a.tif#z=3"
    assert split_choice(path) == (path, {})
    assert stored_path(path) == path
    assert output_stem(path) == path.stem
    assert split_choice(Path(f"{path}#z=4")) == (path, {"z": "4"})


@pytest.mark.parametrize("ending", ["#z", "#z=", "#foo=1", "#z=1&z=2", "#z=1&foo=2", "#"])
def test_a_text_that_is_no_choice(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(ImageError, match=r"a\.tif: #.* is no choice of planes; write #series=1&z=3, of series, level"):
        split_choice(Path(f"{tmp_path / 'a.tif'}{ending}"))


def test_a_file_that_is_missing_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "data#1").mkdir()
    for name in ("gone.tif#z=1", "data#1/gone.tif", "gone#1.tif"):
        assert split_choice(tmp_path / name) == (tmp_path / name, {})


def test_patterns_keep_their_choice() -> None:
    assert split_pattern("a*.tif#z=1&t=2") == ("a*.tif", "#z=1&t=2")
    assert split_pattern("a#*.tif") == ("a#*.tif", "")


def test_outputs_are_named_after_the_choice(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    assert output_stem(Path(f"{tmp_path / 'a.zarr'}#series=A/1/0&z=3")) == "a-seriesA_1_0-z3"
    assert output_stem(tmp_path / "a.zarr") == "a"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.ome.tif", "a"), ("a.OME.TIFF", "a"), ("a.ome.zarr", "a"), ("a.b.tif", "a.b"), (".ome.tif", ".ome"),
        ("a.ome", "a"), ("a.tif", "a"), ("a", "a"),
    ],
)  # fmt: skip
def test_a_suffix_of_two_parts_is_left_out(tmp_path: Path, name: str, stem: str) -> None:
    (tmp_path / name).touch()
    assert output_stem(tmp_path / name) == stem
    assert output_stem(Path(f"{tmp_path / name}#series=1")) == f"{stem}-series1"
