"""`fit classify`: answers on stdout, everything else on stderr, and one bad file does not stop the others."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import colored, save
from typer.testing import Result

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.tasks.classify import classify_files
from fitcli.tasks.classify.legend import legend_size
from fitcli.tasks.encoding import group_encoder

Fit = Callable[..., Result]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that the model of `trained` has not seen."""
    folder = tmp_path_factory.mktemp("images")
    save(folder / "sky.tif", colored((300, 600), (40, 60, 200), 100))
    save(folder / "brick.png", colored((90, 40), (200, 60, 40), 101))
    save(folder / "sea.zarr", colored((50, 700), (40, 60, 200), 102))
    return folder


def classify(fit: Fit, run: Path, *arguments: object) -> Result:
    return fit("classify", *arguments, "--checkpoint", run, "--device", "cpu")


def test_json(fit: Fit, trained: Path, images: Path) -> None:
    result = classify(fit, trained, images / "sky.tif", images / "brick.png", "--json")
    assert result.exit_code == 0, result.stderr
    sky, brick = json.loads(result.stdout)
    assert set(sky) >= {
        "path", "width", "height", "groups", "skipped_groups", "predictions", "seconds", "peak_bytes",
        "memory",
    }  # fmt: skip
    assert (sky["path"], sky["width"], sky["height"]) == (str(images / "sky.tif"), 600, 300)
    assert (sky["groups"], sky["skipped_groups"]) == (15, 0), "groups of 128 pixels: 3 rows of 5"
    assert [one["predictions"][0]["label"] for one in (sky, brick)] == ["blue", "red"]
    assert sum(one["probability"] for one in sky["predictions"]) == pytest.approx(1)
    assert sky["predictions"][0]["probability"] >= sky["predictions"][1]["probability"]
    assert sky["seconds"] > 0
    assert sky["peak_bytes"] > 10**6
    assert result.stderr == ""


def test_table(fit: Fit, trained: Path, images: Path) -> None:
    result = classify(fit, trained, images / "sky.tif", images / "sea.zarr")
    assert result.exit_code == 0
    head, sky, sea = result.stdout.splitlines()
    assert "image" in head
    assert "seconds" in head
    for line, name, size in ((sky, "sky.tif", "600 x 300"), (sea, "sea.zarr", "700 x 50")):
        assert str(images / name) in line
        assert size in line
        assert line.index("blue") < line.index("red")
    assert result.stderr == ""


@pytest.mark.parametrize(("top_k", "shown"), [(1, 1), (2, 2), (50, 2)])
def test_top_k(fit: Fit, trained: Path, images: Path, top_k: int, shown: int) -> None:
    result = classify(fit, trained, images / "sky.tif", "--json", "--top-k", top_k)
    assert len(json.loads(result.stdout)[0]["predictions"]) == shown
    result = classify(fit, trained, images / "sky.tif", "--top-k", top_k)
    assert ("red" in result.stdout) == (shown == 2)


def test_patterns(fit: Fit, trained: Path, images: Path) -> None:
    result = classify(fit, trained, images / "s*", images / "brick.[pj]*", "--json")
    assert [Path(one["path"]).name for one in json.loads(result.stdout)] == ["sea.zarr", "sky.tif", "brick.png"]
    result = classify(fit, trained, images / "none*", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, [])
    assert "none*: no file matches" in result.stderr


def test_an_image_that_does_not_fit_among_others_that_do(
    fit: Fit, trained: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in both passes over the second image."""
    passes, real = list[int](), group_encoder.stream_encoder

    def limited(*arguments: Any) -> Any:
        passes.append(1)
        if len(passes) in (2, 3):
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return real(*arguments)

    monkeypatch.setattr(group_encoder, "stream_encoder", limited)
    result = classify(fit, trained, images / "sky.tif", images / "sky.tif", images / "brick.png", "--json")
    assert result.exit_code == 1
    assert [Path(one["path"]).name for one in json.loads(result.stdout)] == ["sky.tif", "brick.png"]
    assert result.stderr.startswith(f"error: {images / 'sky.tif'}: out of memory on cuda (CUDA error: CUBLAS_STATUS")
    assert result.stderr.count("\n") == 1


def test_bad_files_among_good_ones(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes((images / "sky.tif").read_bytes()[:5000])
    text = tmp_path / "text.tif"
    text.write_text("no image at all")
    channels = save(tmp_path / "five.tif", np.zeros((20, 20, 5), np.uint8))
    dtype = save(tmp_path / "float.tif", np.zeros((20, 20, 3), np.float32))
    circle = tmp_path / "circle.tif"
    circle.symlink_to(circle)
    bad = [tmp_path / "missing.tif", broken, text, channels, dtype, tmp_path, circle]
    table = tmp_path / "out.csv"
    result = classify(
        fit, trained, images / "sky.tif", *bad, images / "brick.png", "--json", "--csv", table,
        "--heatmap", tmp_path / "heat",
    )  # fmt: skip
    assert result.exit_code == 1
    assert [Path(one["path"]).name for one in json.loads(result.stdout)] == ["sky.tif", "brick.png"]
    lines = result.stderr.splitlines()
    assert len(lines) == len(bad)
    for line, path in zip(lines, bad, strict=True):
        assert line.startswith(f"error: {path}: ")
    assert "has 5 channels, the model was trained on 3; " in lines[3]
    assert "has float32 pixels, the model was trained on uint8; " in lines[4]
    assert sorted(path.name for path in (tmp_path / "heat").iterdir()) == ["brick.png", "sky.png"]
    assert len(table.read_text().splitlines()) == 3


def test_csv(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    table.write_text("old")
    result = classify(fit, trained, images / "sky.tif", images / "brick.png", "--csv", table, "--json", "--top-k", 1)
    assert result.exit_code == 0
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["label"]) for row in rows] == [
        (str(images / "sky.tif"), "blue"),
        (str(images / "brick.png"), "red"),
    ]
    for row, one in zip(rows, json.loads(result.stdout), strict=True):
        assert float(row["blue"]) + float(row["red"]) == pytest.approx(1, abs=1e-5)
        assert float(row[row["label"]]) == pytest.approx(one["predictions"][0]["probability"], abs=1e-5)
    assert list(tmp_path.iterdir()) == [table], "nothing half-written"


def test_a_name_that_is_no_text(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    image = Path(shutil.copy(images / "brick.png", tmp_path / "a\udcff\nb.png"))
    result = classify(fit, trained, image, "--csv", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    with (tmp_path / "out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert Path(next(csv.DictReader(file))["path"]).exists()


def test_a_csv_that_cannot_be_written(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    for target in (tmp_path / "none/out.csv", tmp_path, images / "brick.png"):
        result = classify(fit, trained, images / "brick.png", "--csv", target)
        assert (result.exit_code, result.stdout) == (1, ""), "before the work"
        assert f"error: --csv {target}" in result.stderr
        assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["heat.png", "heat.jpg", "heat.tif", "heat.zarr"])
def test_one_heat_map(fit: Fit, trained: Path, images: Path, tmp_path: Path, name: str) -> None:
    plain = json.loads(classify(fit, trained, images / "sky.tif", "--json").stdout)[0]
    result = classify(fit, trained, images / "sky.tif", "--heatmap", tmp_path / name, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)[0]["predictions"] == plain["predictions"]
    with open_image(tmp_path / name) as heat:
        picture = name.endswith(("png", "jpg"))
        below, wide = legend_size(600) if picture else (0, 600)
        assert heat.info.size == (300 + below, wide)
        assert (heat.info.channels, heat.info.dtype) == ((3, np.uint8) if picture else (1, np.float32))
        if not picture:
            assert heat.read(Window(0, 0, 300, 600)).mean(dtype=float) == pytest.approx(1, rel=1e-3)
    colors = {"lowest": 0.0, "highest": 1000.0, "scale": "log(1 + |value|)"} if picture else None
    assert json.loads(result.stdout)[0]["heatmaps"] == [
        {"path": str(tmp_path / name), "shows": "evidence", "target": None, "classes": [],
         "unit": "times the even share", "colors": colors}
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.walk(2)
@pytest.mark.parametrize(
    ("out", "choice", "files"),
    [
        ("heat.png", "blue", {"heat.png": ["blue"]}),
        ("heat.png", "all", {"heat-blue.png": ["blue"], "heat-red.png": ["red"]}),
        ("heat.tif", "all", {"heat.tif": ["blue", "red"]}),
        ("heat.zarr", "red", {"heat.zarr": ["red"]}),
        ("maps", "red", {"maps/sky.png": ["red"]}),
        ("maps", "all", {"maps/blue/sky.png": ["blue"], "maps/red/sky.png": ["red"]}),
    ],
)
def test_heat_maps_of_classes(
    fit: Fit, trained: Path, images: Path, tmp_path: Path, out: str, choice: str, files: dict[str, list[str]]
) -> None:
    result = classify(
        fit, trained, images / "sky.tif", "--heatmap", tmp_path / out, "--heatmap-class", choice, "--json"
    )
    assert result.exit_code == 0, result.stderr
    maps = json.loads(result.stdout)[0]["heatmaps"]
    assert {str(Path(each["path"]).relative_to(tmp_path)): each["classes"] for each in maps} == files
    assert {each["shows"] for each in maps} == {"contribution"}
    for name, classes in files.items():
        with open_image(tmp_path / name) as heat:
            assert heat.info.channels == (3 if name.endswith("png") else len(classes))


def test_classes_that_a_heat_map_cannot_show(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    result = classify(fit, trained, images / "sky.tif", "--heatmap", tmp_path / "a.png", "--heatmap-class", "green")
    assert result.exit_code == 1
    assert "--heatmap-class green: the run has blue, red; give one of these, or all" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_heat_maps(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    other, third = tmp_path / "other", tmp_path / "third"
    for folder, name in ((other, "sky.png"), (third, "sky.png"), (third, "sky-2.png")):
        folder.mkdir(exist_ok=True)
        shutil.copy(images / "brick.png", folder / name)
    result = classify(
        fit, trained, images / "sky.tif", other / "sky.png", third / "sky-2.png", third / "sky.png",
        "--heatmap", tmp_path / "deep/heat",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    written = sorted(path for path in (tmp_path / "deep/heat").rglob("*") if path.is_file())
    assert len(written) == 4, "one for each image, whatever they are called"
    own = tmp_path / "deep/heat" / tmp_path.name
    assert {own / "other/sky.png", own / "third/sky.png", own / "third/sky-2.png"} <= set(written)


def test_heat_maps_that_cannot_be(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    def refused(target: Path, *paths: Path, words: str) -> None:
        result = classify(fit, trained, *paths, "--heatmap", target)
        assert result.exit_code == 1
        assert f"--heatmap {target}" in result.stderr
        assert words in result.stderr
        assert result.stdout == ""

    sky, brick = images / "sky.tif", images / "brick.png"
    refused(tmp_path / "one.png", sky, brick, words="is one file for 2 images; give a folder")
    refused(tmp_path / "none/one.png", sky, words="make it first")
    (tmp_path / "file").write_text("mine")
    refused(tmp_path / "file", sky, words="not a folder")
    refused(tmp_path / "one.bmp", sky, words="name it .png, .jpg")
    refused(tmp_path / "file/deep", sky, words="cannot be written to")
    wrong = classify(fit, tmp_path / "none", sky, "--heatmap", tmp_path / "heat")
    assert (wrong.exit_code, "no run folder" in wrong.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_heat_map_that_fails_leaves_the_prediction(
    fit: Fit, trained: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise ImageError(path, "the disk is full")

    monkeypatch.setattr(classify_files, "write_heatmap", full)
    result = classify(fit, trained, images / "sky.tif", "--heatmap", tmp_path / "heat.png", "--json")
    assert result.exit_code == 1
    assert len(json.loads(result.stdout)[0]["predictions"]) == 2
    assert "the disk is full" in result.stderr


def test_a_folder_names_the_pattern_for_its_files(fit: Fit, trained: Path, tmp_path: Path) -> None:
    result = classify(fit, trained, tmp_path)
    assert (result.exit_code, f"or {tmp_path}/* for the files in it" in result.stderr) == (1, True)


@pytest.mark.parametrize("target", ["brick.png", "."])
def test_a_heat_map_never_replaces_the_image(
    fit: Fit, trained: Path, images: Path, tmp_path: Path, target: str
) -> None:
    image = Path(shutil.copy(images / "brick.png", tmp_path))
    before = image.read_bytes()
    result = classify(fit, trained, image, "--heatmap", tmp_path / target)
    assert result.exit_code == 1
    assert "would replace" in result.stderr
    assert image.read_bytes() == before


def test_checkpoints_that_cannot_be_used(fit: Fit, trained: Path, images: Path, tmp_path: Path) -> None:
    def refused(run: Path, words: str) -> None:
        result = classify(fit, run, images / "brick.png", "--json")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error: {run}")
        assert words in result.stderr
        assert result.stderr.count("\n") == 1

    refused(tmp_path / "none", "no run folder")
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "model.safetensors").write_bytes(b"\x80\x04pickled")
    refused(run, "damaged weights")
    (run / "config.json").write_text("{}")
    refused(run, "not a run's settings")


def test_the_last_model_can_be_used_too(fit: Fit, trained: Path, images: Path) -> None:
    result = classify(fit, trained / "last", images / "sky.tif", "--json")
    assert json.loads(result.stdout)[0]["predictions"][0]["label"] == "blue"


@pytest.mark.parametrize(
    ("device", "words"), [("gpu", "--device gpu: unknown"), ("cuda:99", "--device cuda:99: not on this machine")]
)
def test_devices_that_are_not_there(fit: Fit, trained: Path, images: Path, device: str, words: str) -> None:
    result = fit("classify", images / "sky.tif", "--checkpoint", trained, "--device", device)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


def test_bfloat16_gives_about_the_same(fit: Fit, trained: Path, images: Path) -> None:
    exact, fast = (
        json.loads(classify(fit, trained, images / "sky.tif", "--json", "--precision", precision).stdout)[0]
        for precision in ("fp32", "bf16")
    )
    assert exact["predictions"][0]["label"] == fast["predictions"][0]["label"]
    assert exact["predictions"][0]["probability"] == pytest.approx(fast["predictions"][0]["probability"], abs=0.01)


@pytest.mark.parametrize("choice", [("--level", 1), ("--mpp", 0.9)])
def test_the_heat_map_of_another_scale_lies_over_the_image(
    fit: Fit, trained: Path, tmp_path: Path, choice: tuple[str, float]
) -> None:
    geo = GeoReference(scale=(10.0, 10.0, 0.0), tiepoints=(0, 0, 0, 5000.0, 9000.0, 0))
    info = ImageInfo(height=120, width=80, channels=3, dtype=np.dtype("u1"), color=True, mpp=0.5, geo=geo)
    with create_image(tmp_path / "a.ome.tif", info, chunk=16, levels=2) as canvas:
        canvas.write(Window(0, 0, 120, 80), colored((120, 80), (40, 60, 200), 1))
    arguments = ["--checkpoint", trained, *choice, "--heatmap", tmp_path / "map.ome.tif"]
    result = fit("classify", tmp_path / "a.ome.tif", *arguments)
    assert result.exit_code == 0, result.stderr
    with open_image(tmp_path / "map.ome.tif") as layer:
        assert layer.info.size == ((60, 40) if choice[0] == "--level" else (67, 44))
        assert layer.info.mpp == pytest.approx(1.0 if choice[0] == "--level" else 0.5 * 120 / 67)
        assert layer.info.geo is not None
        across, down, _ = layer.info.geo.scale
        assert (across * layer.info.width, down * layer.info.height) == (pytest.approx(800), pytest.approx(1200))
        assert layer.info.geo.tiepoints[3:5] == (5000.0, 9000.0)
