"""`fit demo`: real files that every other command reads, always the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from fitcli.commands.demo import DEMOS
from fitcli.data.dataset import load_dataset
from fitcli.demo import dataset, keyed_dataset
from fitcli.demo.scenes import CLASSES
from fitcli.images.open import open_image
from fitcli.images.window import Window

Fit = Callable[..., Result]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve images of a few hundred pixels and a large one of 1100."""
    monkeypatch.setattr(dataset, "IMAGES_PER_CLASS", 4)
    monkeypatch.setattr(dataset, "SIDES", (420, 460))
    monkeypatch.setattr(dataset, "LARGE_SIDE", 1100)
    monkeypatch.setattr(dataset, "LARGE_MARKS", 5)


def digests(folder: Path) -> dict[str, str]:
    """Of the pixels of every image."""
    found = {}
    for name in json.loads((folder / "truth.json").read_text()):
        with open_image(folder / name) as image:
            found[name] = hashlib.sha256(image.read(Window(0, 0, *image.info.size)).tobytes()).hexdigest()
    return found


def test_the_files(fit: Fit, tmp_path: Path) -> None:
    folder = tmp_path / "deep/data"
    result = fit("demo", folder)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{folder}: 13 images\n"
    assert result.stderr == ""

    truth = json.loads((folder / "truth.json").read_text())
    assert len(truth) == 13
    formats = set()
    for name, told in truth.items():
        with open_image(folder / name) as image:
            assert image.info.size == (told["height"], told["width"])
            assert (image.info.channels, image.info.dtype, image.info.color) == (3, np.uint8, True)
            formats.add(image.info.format)
            assert name == "large.tif" or name.split("/")[0] == told["label"]
        for mark in told["marks"]:
            assert mark["radius"] <= mark["y"] <= told["height"] - mark["radius"] + 0.1
            assert mark["radius"] <= mark["x"] <= told["width"] - mark["radius"] + 0.1
    assert len({path.split("/")[0] for path in truth}) == 4
    assert len(formats) == 3, formats
    with open_image(folder / "large.tif") as large:
        assert large.info.size == (1100, 1100)
        assert len(large.info.levels) > 1
        assert large.info.mpp == pytest.approx(0.5)
    assert not list(folder.rglob("*partial*"))


def test_it_is_a_data_set_without_the_large_image(fit: Fit, tmp_path: Path) -> None:
    fit("demo", tmp_path)
    data = load_dataset(tmp_path)
    assert data.classes == tuple(sorted(CLASSES))
    assert len(data.train + data.validation) == 12
    assert tmp_path / "large.tif" not in {sample.path for sample in data.train + data.validation}


def test_marks_are_where_it_says(fit: Fit, tmp_path: Path) -> None:
    fit("demo", tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text())["large.tif"]
    with open_image(tmp_path / "large.tif") as image:
        pixels = image.read(Window(0, 0, 1100, 1100)).mean(-1)
    y, x = np.mgrid[:1100, :1100]
    inside = np.any([np.hypot(y - m["y"], x - m["x"]) < m["radius"] for m in truth["marks"]], axis=0)
    steps = np.abs(np.diff(pixels, axis=1, append=pixels[:, -1:]))
    assert steps[inside].mean() > 3 * steps[~inside].mean()


def test_always_the_same_pixels_and_others_with_another_seed(fit: Fit, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert fit("demo", tmp_path / name, "--seed", seed).exit_code == 0
    one, same, other = (digests(tmp_path / name) for name in "abc")
    assert one == same
    assert not set(one.values()) & set(other.values())
    assert len(set(one.values())) == 13


def test_folders_that_are_taken(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        result = fit("demo", folder)
        assert result.exit_code == 1
        assert result.stderr == f"error: {folder}: is not an empty folder; choose another one\n"
    result = fit("demo", tmp_path / "mine.txt/data")
    assert result.exit_code == 1
    assert "cannot be made" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.walk
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("name", [".", "deep/data"])
def test_what_was_begun_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    def stop(share: float) -> None:
        raise error

    with pytest.raises(error):
        dataset.make_demo(tmp_path / name, advance=stop)
    assert list(tmp_path.iterdir()) == []
    dataset.make_demo(tmp_path / name)


def test_an_empty_folder_will_do(fit: Fit, tmp_path: Path) -> None:
    assert fit("demo", tmp_path).exit_code == 0


@pytest.mark.walk(1)
@pytest.mark.parametrize(
    "task", [pytest.param(each, marks=[pytest.mark.more] * (each == "detect")) for each in sorted(DEMOS)]
)
def test_every_task_of_the_table_has_a_data_set(
    task: str, fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_dataset, "SCENES", 6)
    monkeypatch.setattr(keyed_dataset, "LARGE_SIDE", 300)
    folder = tmp_path / "data"
    result = fit("demo", folder, "--task", task)
    assert result.exit_code == 0, result.stderr
    images = {path for path in folder.rglob("*") if path.suffix in (".tif", ".png", ".zarr")}
    count = int(result.stdout.removeprefix(f"{folder}: ").split()[0])
    assert 0 < count <= len(images)
    # The hint names files that exist.
    for word in DEMOS[task].next.format(folder=folder).split():
        assert not word.startswith(str(folder)) or Path(word).exists(), word


def test_a_task_without_a_data_set_is_a_wrong_call(fit: Fit, tmp_path: Path) -> None:
    result = fit("demo", tmp_path / "data", "--task", "painting")
    assert result.exit_code == 2
    assert not (tmp_path / "data").exists()
