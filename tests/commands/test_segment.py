"""`fit segment`: exit code, stdout, stderr and the files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.command_line import Fit
from support.interrupted import interrupt
from support.pictures import colored, save
from support.small_runs import labelled

from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.memory.handfuls import TOKENS
from fitcli.tasks.segment import segment_files

CLASSES = "0=background,1=light"


@pytest.fixture(scope="module")
def run(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a model that tells dark from light; a group has 32 pixels per side."""
    folder = tmp_path_factory.mktemp("runs")
    result = fit(
        "train", labelled(folder / "data", (40, 56)), "--task", "segment", "--out", folder / "run", "--preset", "debug",
        "--patch", 4, "--steps", 30, "--learning-rate", 0.003, "--classes", CLASSES, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark images with a light part: one with a scale, one as OME-Zarr."""
    folder = tmp_path_factory.mktemp("images")
    for name, size, mpp in (("sky.tif", (70, 130), 0.5), ("sea.zarr", (33, 40), None)):
        pixels = colored(size, (60, 80, 70), 1)
        pixels[:, size[1] // 2 :] = colored(size, (140, 120, 150), 2)[:, size[1] // 2 :]
        save(folder / name, pixels, mpp)
    return folder


def pixels_of(path: Path) -> np.ndarray[Any, Any]:
    with open_image(path, indices=True) as image:
        return image.read(Window(0, 0, *image.info.size))


def test_one_image_to_one_map(fit: Fit, run: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    result = fit("segment", images / "sky.tif", "--checkpoint", run, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert "70 x 130" not in result.stdout
    assert "130 x 70" in result.stdout
    assert {"background", "light", "map"} <= set(result.stdout.split())
    found = tifffile.imread(out).reshape(70, 130)
    assert set(np.unique(found)) <= {0, 1}
    assert (found[:, 65:] == 1).mean() > 0.9
    assert (found[:, :65] == 0).mean() > 0.9
    assert [path.name for path in tmp_path.iterdir()] == ["map.tif"]


def test_several_images_with_everything(fit: Fit, run: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    paths = (tmp_path / "broken.tif", images / "sky.tif", images / "sea.zarr")
    options = ("--probabilities", tmp_path / "p", "--polygons", tmp_path / "g", "--min-area", 8, "--memory", "2GiB")
    result = fit("segment", *paths, "--checkpoint", run, "--out", tmp_path / "out", "--json", *options)
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 1
    assert "sky.tif: memory: 2.00 GiB allowed, about" in result.stderr
    sky, sea = json.loads(result.stdout)
    assert sky.keys() == {
        "path", "width", "height", "map", "probabilities", "polygons", "groups", "skipped_groups", "areas",
        "pixels_not_looked_at", "seconds", "peak_bytes", "memory",
    }  # fmt: skip
    assert (sky["map"], sea["map"]) == (str(tmp_path / "out/sky.tif"), str(tmp_path / "out/sea.tif"))
    assert (sky["groups"], sky["skipped_groups"], sea["groups"]) == (15, 0, 4)
    light = sky["areas"]["light"]
    found = pixels_of(tmp_path / "out/sky.tif")[..., 0]
    assert light["pixels"] == (found == 1).sum()
    assert light["square_millimetres"] == pytest.approx(light["pixels"] * 0.25e-6)
    assert "square_millimetres" not in sea["areas"]["light"]
    shares = pixels_of(tmp_path / "p/sky.tif").astype(int)
    assert np.abs(shares.sum(axis=-1) - 255).max() <= 1
    sure = shares[..., 0] != shares[..., 1]
    np.testing.assert_array_equal(shares.argmax(axis=-1)[sure], found[sure])
    features = json.loads((tmp_path / "g/sky.geojson").read_text())["features"]
    assert {each["properties"]["classification"]["name"] for each in features} == {"light"}
    areas = [each["properties"]["area_px"] for each in features]
    assert min(areas) >= 8
    assert sum(areas) <= light["pixels"]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr", ".png"])
def test_every_format_holds_the_same_map(fit: Fit, run: Path, images: Path, tmp_path: Path, suffix: str) -> None:
    for name in (f"map{suffix}", "expected.tif"):
        assert fit("segment", images / "sea.zarr", "--checkpoint", run, "--out", tmp_path / name).exit_code == 0
    np.testing.assert_array_equal(pixels_of(tmp_path / f"map{suffix}"), pixels_of(tmp_path / "expected.tif"))


def test_background_is_not_looked_at(fit: Fit, run: Path, tmp_path: Path) -> None:
    pixels = np.full((64, 96, 3), 200, np.uint8)
    pixels[40:60, 70:90] = colored((20, 20), (60, 80, 70), 1)
    save(tmp_path / "a.tif", pixels)
    arguments = ("segment", tmp_path / "a.tif", "--checkpoint", run, "--out", tmp_path / "map.tif", "--json")
    (report,) = json.loads(fit(*arguments).stdout)
    assert (report["skipped_groups"], report["pixels_not_looked_at"]) == (0, 0)
    (report,) = json.loads(fit(*arguments, "--skip-background").stdout)
    assert (report["skipped_groups"], report["pixels_not_looked_at"]) == (5, 5 * 32**2)
    found = pixels_of(tmp_path / "map.tif")[..., 0]
    assert (found[32:, 64:] != 255).all()
    assert (found == 255).sum() == 5 * 32**2


def test_another_scale_gives_polygons_in_pixels_of_the_file(fit: Fit, run: Path, images: Path, tmp_path: Path) -> None:
    out, parts = tmp_path / "map.tif", tmp_path / "p.geojson"
    options = ("--polygons", parts, "--json", "--mpp", 1.0)
    result = fit("segment", images / "sky.tif", "--checkpoint", run, "--out", out, *options)
    assert result.exit_code == 0, result.stderr
    (report,) = json.loads(result.stdout)
    assert (report["height"], report["width"]) == (35, 65)
    assert pixels_of(out).shape == (35, 65, 1)
    features = json.loads(parts.read_text())["features"]
    corners = np.concatenate([np.array(ring) for each in features for ring in each["geometry"]["coordinates"]])
    assert corners.max(axis=0).tolist() == [130, 70]
    assert sum(each["properties"]["area_px"] for each in features) == pytest.approx(
        4 * report["areas"]["light"]["pixels"]
    )


def test_a_state_is_continued(
    fit: Fit, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 128)
    arguments = ("segment", images / "sky.tif", "--checkpoint", run, "--device", "cpu")
    outputs = [("--out", tmp_path / f"{name}.tif", "--probabilities", tmp_path / f"{name} p.tif") for name in "ab"]
    assert fit(*arguments, *outputs[0]).exit_code == 0
    state = ("--state", tmp_path / "state")
    interrupt(11, fit, monkeypatch, *arguments, *outputs[1], *state)
    assert not (tmp_path / "b.tif").exists()
    other = fit(*arguments, "--out", tmp_path / "c.tif", *state)
    assert other.exit_code == 1
    assert "was begun with purpose segment --out" in other.stderr
    result = fit(*arguments, *outputs[1], *state)
    assert result.exit_code == 0, result.stderr
    for name in ("{}.tif", "{} p.tif"):
        one, other_map = (pixels_of(tmp_path / name.format(each)) for each in "ab")
        np.testing.assert_array_equal(one, other_map)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a p.tif", "a.tif", "b p.tif", "b.tif"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--out", "missing/map.tif"], 1, "make it first"),
        (["--out", "map.gif"], 1, "name it .tif or"),
        (["--out", "map.tif", "--polygons", "p.shp"], 1, "--polygons p.shp: name it .geojson or"),
        (["--out", "map.tif", "--probabilities", "map.tif"], 1, "map.tif: is named for two outputs"),
        (["--out", "map.tif", "--min-area", "5"], 1, "--min-area is for --polygons"),
        (["--out", "map.tif", "--pixels"], 1, "--pixels is for --polygons"),
        (["--out", "map.tif", "--polygons", "p.gpkg", "--min-area", "-1"], 2, "--min-area"),
        (["--out", "map.tif", "--polygons", "p.gpkg", "--min-area", "nan"], 2, "--min-area"),
        (["--out", "map.tif", "--background-threshold", "0.1"], 1, "--skip-background"),
        (["--out", "map.tif", "--level", "1", "--mpp", "1"], 1, "give one of them"),
        (["--out", "map.tif", "--level", "7"], 1, "level"),
        (["--out", "map.tif", "--memory", "lots"], 2, "no size"),
        (["--out", "map.tif", "--memory", "1MiB"], 1, "need at least"),
        (["--out", "map.tif", "--precision", "fp8"], 2, "--precision"),
        ([], 2, "--out"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    fit: Fit, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = fit("segment", images / "sky.tif", "--checkpoint", run, *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    if code == 1:
        assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_not_replaced_by_its_map(fit: Fit, run: Path, images: Path, tmp_path: Path) -> None:
    image = Path(shutil.copy(images / "sky.tif", tmp_path))
    for option, other in (("--out", ()), ("--probabilities", ("--out", tmp_path / "map.tif"))):
        result = fit("segment", image, "--checkpoint", run, *other, option, image)
        assert result.exit_code == 1
        assert "would replace" in result.stderr
    assert image.read_bytes() == (images / "sky.tif").read_bytes()


def test_runs_of_other_tasks_are_refused(fit: Fit, trained: Path, run: Path, images: Path, tmp_path: Path) -> None:
    result = fit("segment", images / "sky.tif", "--checkpoint", trained, "--out", tmp_path / "map.tif")
    assert result.exit_code == 1
    assert "was trained with --task classify" in result.stderr
    assert result.stderr.endswith("give a run of --task segment\n")
    for command, more in (("classify", ()), ("embed", ("--out", tmp_path / "out.zarr"))):
        result = fit(command, images / "sky.tif", "--checkpoint", run, *more)
        assert result.exit_code == 1
        assert "was trained with --task segment, which is for `fit segment`" in result.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a file system that takes no file")
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    fit: Fit, run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_files, "segment_image", None)
    good = {"--out": tmp_path / "map.tif", "--polygons": tmp_path / "p.gpkg", "--probabilities": tmp_path / "p.tif"}
    for option, path in good.items():
        given = good | {option: Path("/proc") / path.name}
        words = [word for pair in given.items() for word in pair]
        result = fit("segment", images / "sky.tif", "--checkpoint", run, *words)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"error: {option} /proc/{path.name}: cannot be written to (")
        assert result.stderr.count("\n") == 1
