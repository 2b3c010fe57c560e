"""Files of features through all commands: train, classify with heat maps, segment, embed, evaluate and info."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.command_line import Fit
from support.slides import SIDE, TRIDENT, places, random_features, some_places, write_h5

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.tasks.classify.legend import legend_size

pytest.importorskip("h5py")

ROWS, COLUMNS, VALUES = 20, 15, 8
SLIDE = {"level0_width": 22 * SIDE, "level0_height": 30 * SIDE, "level0_mpp": 0.25}
SMALL = ("--preset", "debug", "--batch-size", "2", "--device", "cpu", "--memory", "1GiB")


def slide(path: Path, seed: int, tumor: bool = False, values: int = VALUES, **attributes: Any) -> np.ndarray:
    """Write a slide; in a tumor, the features of the places in its upper left quarter are shifted."""
    coordinates = some_places(ROWS, COLUMNS, share=0.8, seed=seed)
    features = random_features(len(coordinates), values, seed)
    at = coordinates // SIDE - (3, 2)
    features[(at < (COLUMNS // 2, ROWS // 2)).all(axis=1) & tumor] += 3
    write_h5(path, features, coordinates, TRIDENT | SLIDE | attributes)
    return coordinates


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    rows = [["path", "label", "split"]]
    for number in range(6):
        slide(folder / f"{number}.h5", number, number % 2 == 1)
        rows.append([f"{number}.h5", ("normal", "tumor")[number % 2], "val" if number > 3 else "train"])
    with (folder / "slides.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory, fit: Fit) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    done = fit("train", data / "slides.csv", "--out", run, *SMALL, "--steps", "2")
    assert done.exit_code == 0, done.stderr
    assert "features: 8 values of float32 at each place" in done.stderr
    assert "scale: 128 microns per pixel" in done.stderr
    return run


def test_a_patch_is_one_place(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert (config["model"]["patch"], config["model"]["stem"], config["model"]["channels"]) == (1, "linear", VALUES)
    assert config["preprocessing"]["features"] is True


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_heat_map_lies_over_the_slide(fit: Fit, data: Path, run: Path, tmp_path: Path, suffix: str) -> None:
    layer = tmp_path / f"heat{suffix}"
    done = fit("classify", data / "5.h5", "--checkpoint", run, "--heatmap", layer, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    with open_image(layer) as image:
        assert (image.info.height, image.info.width) == (30, 22)
        assert image.info.mpp == pytest.approx(0.25 * SIDE)
        heat = image.read(Window(0, 0, 30, 22))[..., 0]
    present = np.zeros((30, 22), bool)
    x, y = (some_places(ROWS, COLUMNS, share=0.8, seed=5) // SIDE).T
    present[y, x] = True
    assert np.isnan(heat[~present]).all()
    assert np.nanmean(heat[present]) == pytest.approx(1, rel=1e-2), "times the even share, without missing places"


def test_a_picture_shows_where_features_are(fit: Fit, data: Path, run: Path, tmp_path: Path) -> None:
    done = fit("classify", data / "4.h5", "--checkpoint", run, "--heatmap", tmp_path / "heat.png", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    below, wide = legend_size(COLUMNS * 16)
    with open_image(tmp_path / "heat.png") as image:
        assert image.info.size == (ROWS * 16 + below, max(wide, COLUMNS * 16))


def test_other_kinds_of_images_are_refused(fit: Fit, run: Path, data: Path, tmp_path: Path) -> None:
    slide(tmp_path / "wide.h5", 0, values=16)
    info = ImageInfo(height=9, width=9, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(tmp_path / "a.png", info) as canvas:
        canvas.write(Window(0, 0, 9, 9), np.zeros((9, 9, 3), np.uint8))
    done = fit("classify", tmp_path / "wide.h5", tmp_path / "a.png", "--checkpoint", run, "--device", "cpu")
    assert done.exit_code == 1
    assert "has features of 16 values, the model was trained on 8; extract all features with the same" in done.stderr
    assert "has pixels, the model was trained on features of patches; give files of one kind" in done.stderr


def test_a_data_set_of_two_encoders_is_refused(fit: Fit, data: Path, tmp_path: Path) -> None:
    for number in range(4):
        slide(tmp_path / f"{number}.h5", number, values=16 if number == 3 else VALUES)
    rows = "".join(f"{number}.h5,{'ab'[number % 2]}\n" for number in range(4))
    (tmp_path / "slides.csv").write_text(f"path,label\n{rows}")
    done = fit("train", tmp_path / "slides.csv", "--out", tmp_path / "run", *SMALL)
    assert done.exit_code == 1
    assert "3.h5: has features of 16 values, the other training images have 8" in done.stderr


def write_slides(folder: Path, *attributes: dict[str, Any] | None) -> Path:
    """Write a slide with these attributes each, None for those of CLAM, and the CSV file that lists them."""
    for number, own in enumerate(attributes):
        side = 256 if own is None else int(own["patch_size_level0"])
        coordinates = places(ROWS, COLUMNS, side=side)
        features = random_features(len(coordinates), VALUES, number)
        write_h5(folder / f"{number}.h5", features, coordinates, own)
    rows = "".join(f"{number}.h5,{('normal', 'tumor')[number % 2]}\n" for number in range(len(attributes)))
    (folder / "slides.csv").write_text(f"path,label\n{rows}")
    return folder / "slides.csv"


FINE = TRIDENT | {"patch_size_level0": 256, "target_magnification": 40}
SCANNED_AT_20 = TRIDENT | {"patch_size_level0": 256, "level0_magnification": 20}


def test_a_data_set_of_two_patch_sizes_is_refused(fit: Fit, tmp_path: Path) -> None:
    data = write_slides(tmp_path, TRIDENT, TRIDENT, TRIDENT, FINE)
    done = fit("train", data, "--out", tmp_path / "run", *SMALL)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert f"{tmp_path / '3.h5'}: has features of patches of 256 pixels (64 microns), {tmp_path}" in line
    assert ".h5 of 512 pixels (128 microns); extract all features with one patch size" in line
    assert not (tmp_path / "run").exists()
    done = fit("train", data, "--out", tmp_path / "run", *SMALL, "--steps", "1", "--max-bad-images", "1")
    assert done.exit_code == 0, done.stderr


def test_slides_of_two_scales_with_patches_of_one_size_train(fit: Fit, tmp_path: Path) -> None:
    data = write_slides(tmp_path, TRIDENT, TRIDENT, SCANNED_AT_20, SCANNED_AT_20)
    done = fit("train", data, "--out", tmp_path / "run", *SMALL, "--steps", "1")
    assert done.exit_code == 0, done.stderr
    assert "patches" not in done.stderr
    done = fit("classify", tmp_path / "0.h5", tmp_path / "3.h5", "--checkpoint", tmp_path / "run", "--device", "cpu")
    assert done.exit_code == 0, done.stderr


def test_files_that_state_no_patch_size_give_a_warning(fit: Fit, tmp_path: Path) -> None:
    data = write_slides(tmp_path, TRIDENT, TRIDENT, None, None)
    done = fit("train", data, "--out", tmp_path / "run", *SMALL, "--steps", "1")
    assert done.exit_code == 0, done.stderr
    assert f"{tmp_path / '2.h5'} (and 1 more file): has patches at a distance of 256 pixels" in done.stderr


def test_the_patch_size_is_that_of_training(fit: Fit, run: Path, data: Path, tmp_path: Path) -> None:
    """Files of other patches are refused by every command; those that state no size give one warning."""
    trained = json.loads((run / "config.json").read_text())["preprocessing"]["trained_patch"]
    assert trained == {"pixels": 512.0, "microns": 128.0, "nominal": 128.0, "stated": True}
    write_slides(tmp_path, FINE, None, None)
    chosen = ("--checkpoint", run, "--device", "cpu")
    for command in (
        ("classify", tmp_path / "0.h5", *chosen),
        ("embed", tmp_path / "0.h5", *chosen, "--out", tmp_path / "a.zarr"),
        ("evaluate", tmp_path / "slides.csv", *chosen, "--split", "all"),
    ):
        done = fit(*command)
        assert done.exit_code == 1
        sizes = "of 256 pixels (64 microns), the model was trained on 512 pixels (128 microns)"
        assert f"{tmp_path / '0.h5'}: has features of patches {sizes}; extract" in done.stderr
    done = fit("classify", data / "0.h5", tmp_path / "1.h5", tmp_path / "2.h5", *chosen)
    assert done.exit_code == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "distance" in line]
    assert len(warnings) == 2
    sizes = "has patches at a distance of 256 pixels, the run was trained on patches of 512 pixels (128 microns)"
    assert f"{tmp_path / '1.h5'}: {sizes}" in warnings[0]
    assert warnings[1].endswith("1 more file has features at another distance, too")


def test_runs_of_earlier_versions_take_any_patch_size(fit: Fit, run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(run, old)
    document = json.loads((old / "config.json").read_text())
    del document["preprocessing"]["trained_patch"]
    (old / "config.json").write_text(json.dumps(document))
    write_slides(tmp_path, FINE)
    done = fit("classify", tmp_path / "0.h5", "--checkpoint", old, "--device", "cpu")
    assert done.exit_code == 0, done.stderr


def test_folders_of_classes(fit: Fit, tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / "data" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{number}.npy", random_features(300, VALUES, number).reshape(ROWS, COLUMNS, VALUES))
    done = fit("train", tmp_path / "data", "--out", tmp_path / "run", *SMALL, "--steps", "1")
    assert done.exit_code == 0, done.stderr
    done = fit("evaluate", tmp_path / "data", "--checkpoint", tmp_path / "run", "--device", "cpu")
    assert done.exit_code == 0, done.stderr


def test_features_of_features(fit: Fit, data: Path, run: Path, tmp_path: Path) -> None:
    done = fit(
        "embed", data / "0.h5", "--checkpoint", run, "--out", tmp_path / "a.zarr", "--patches", "--device", "cpu"
    )
    assert done.exit_code == 0, done.stderr
    with open_image(tmp_path / "a.zarr") as image:
        assert (image.info.height, image.info.width, image.info.channels) == (ROWS, COLUMNS, 64)


@pytest.mark.more
def test_a_run_on_features_starts_from_one_on_images(fit: Fit, data: Path, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    for number in range(4):
        slide(folder / f"{number}.h5", number, values=16)
    rows = "".join(f"{number}.h5,{('normal', 'tumor')[number % 2]}\n" for number in range(4))
    (folder / "slides.csv").write_text(f"path,label\n{rows}")
    out = tmp_path / "next"
    done = fit("train", folder / "slides.csv", "--out", out, *SMALL, "--steps", "1", "--start-from", run)
    assert done.exit_code == 0, done.stderr
    assert "the stem begins anew, because it is for linear patches of 1 x 1 pixels with 8 values" in done.stderr
    done = fit(
        "train", folder / "slides.csv", "--out", tmp_path / "n", *SMALL[2:], "--preset", "mini", "--start-from", run
    )
    assert done.exit_code == 1
    assert "is of another architecture (token_width 64, latent_width 64" in done.stderr


SQUARE = {
    "type": "Feature",
    "properties": {"classification": {"name": "tumor"}},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[1536, 1024], [5120, 1024], [5120, 6144], [1536, 6144], [1536, 1024]]],
    },
}
"""Places 0 to 6 across and 0 to 9 down, in pixels of the slide."""


@pytest.fixture(scope="module")
def segmenting(tmp_path_factory: pytest.TempPathFactory, fit: Fit) -> Path:
    folder = tmp_path_factory.mktemp("segment")
    for number in range(3):
        slide(folder / f"{number}.h5", number, tumor=True)
        (folder / f"{number}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [SQUARE]}))
    rows = "".join(f"{number}.h5,{number}.geojson,{'val' if number == 2 else 'train'}\n" for number in range(3))
    (folder / "slides.csv").write_text(f"path,labels,split\n{rows}")
    options = ("--task", "segment", "--elsewhere", "normal", "--steps", "30", "--learning-rate", "0.004")
    done = fit("train", folder / "slides.csv", "--out", folder / "run", *SMALL, *options)
    assert done.exit_code == 0, done.stderr
    # 70 of 300 places.
    assert "tumor (23.3%)" in done.stderr
    return folder


def test_polygons_are_pixels_of_the_slide(fit: Fit, segmenting: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "map.tif", "--polygons", tmp_path / "map.geojson", "--device", "cpu")
    done = fit("segment", segmenting / "2.h5", "--checkpoint", segmenting / "run", *out)
    assert done.exit_code == 0, done.stderr
    with open_image(tmp_path / "map.tif", indices=True) as image:
        assert (image.info.height, image.info.width) == (30, 22)
        assert image.info.mpp == pytest.approx(0.25 * SIDE)
        found = image.read(Window(0, 0, 30, 22))[..., 0]
    legend = tifffile.TiffFile(tmp_path / "map.tif").pages[0].description
    assert "255=not looked at; one pixel covers 512 x 512 pixels of the slide" in legend
    tumor = next(int(part[0]) for part in legend.removeprefix("classes: ").split(", ") if "=tumor" in part)
    coordinates = some_places(ROWS, COLUMNS, share=0.8, seed=2) // SIDE
    present = np.zeros((30, 22), bool)
    present[coordinates[:, 1], coordinates[:, 0]] = True
    assert (found[~present] == 255).all()
    inside = np.zeros((30, 22), bool)
    inside[2:12, 3:10] = True
    assert np.mean((found == tumor)[present] == inside[present]) > 0.9
    document = json.loads((tmp_path / "map.geojson").read_text())
    points = np.concatenate([np.array(f["geometry"]["coordinates"][0]) for f in document["features"]
                             if f["properties"]["classification"]["name"] == "tumor"])  # fmt: skip
    assert not (points % SIDE).any()
    assert (points.min(axis=0) >= (3 * SIDE, 2 * SIDE)).all()
    areas = [f["properties"]["area_px"] for f in document["features"]]
    assert all(area % SIDE**2 == 0 for area in areas)


def test_info_shows_places(fit: Fit, data: Path) -> None:
    (found,) = json.loads(fit("info", data / "0.h5", "--json").stdout)
    assert found["format"] == "HDF5 features"
    assert found["features"] == {
        "rows": ROWS,
        "columns": COLUMNS,
        "values": VALUES,
        "missing places": ROWS * COLUMNS - 240,
        "patch": 512,
        "distance of patches": 512,
        "first patch": [1536, 1024],
        "slide": [22 * SIDE, 30 * SIDE],
        "slide mpp": 0.25,
        "magnification": 40,
        "patches off the grid": 0,
        "patches left out": 0,
    }
    assert "missing places: 60" in fit("info", data / "0.h5").stdout


def test_a_full_grid_has_no_missing_place(fit: Fit, tmp_path: Path) -> None:
    write_h5(tmp_path / "a.h5", random_features(12), places(3, 4))
    (found,) = json.loads(fit("info", tmp_path / "a.h5", "--json").stdout)
    assert found["features"]["missing places"] == 0
