"""`fit info`: exit code, stdout and stderr."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tifffile
import typer
import zarr
from PIL import Image
from typer.testing import CliRunner

from fitcli.commands.info import info
from fitcli.errors import FitError

app = typer.Typer()
app.command()(info)
run = CliRunner().invoke


def write_pyramid(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        options = {"photometric": "rgb", "tile": (64, 32), "metadata": None, "resolutionunit": 3}
        file.write(np.zeros((100, 200, 3), np.uint8), resolution=(20000, 20000), **options)
        file.write(np.zeros((50, 100, 3), np.uint8), resolution=(10000, 10000), subfiletype=1, **options)


def test_json(tmp_path: Path):
    path = tmp_path / "image.tif"
    write_pyramid(path)
    result = run(app, ["--json", str(path)])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [
        {
            "path": str(path),
            "format": "TIFF",
            "width": 200,
            "height": 100,
            "channels": 3,
            "dtype": "uint8",
            "axes": "YXS",
            "levels": [
                {"width": 200, "height": 100, "downsample": 1.0},
                {"width": 100, "height": 50, "downsample": 2.0},
            ],
            "chunk": [64, 32],
            "mpp": 0.5,
            "nodata": None,
            "bytes": path.stat().st_size,
            "focal_planes": 1,
            "time_points": 1,
            "pages": 1,
            "channel_names": [],
            "channel_colors": [],
            "magnification": None,
            "series": [
                {
                    "number": 0,
                    "name": "",
                    "width": 200,
                    "height": 100,
                    "axes": "YXS",
                    "focal_planes": 1,
                    "time_points": 1,
                    "pages": 1,
                    "channels": 3,
                    "levels": 2,
                    "missing": "",
                }
            ],
            "read": 0,
            "ignored": [],
            "choose": [],
            "crs": None,
            "bounds": None,
        }
    ]


def test_a_file_of_several_planes_and_images(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=True) as file:
        channels = {"Channel": {"Name": ["DAPI", "Cy5"], "Color": [-16776961, 65535]}}
        stack = np.zeros((2, 3, 2, 40, 50), np.uint16)
        file.write(stack, photometric="minisblack", metadata={"axes": "TZCYX", "Name": "cells", **channels})
        file.write(np.zeros((20, 30, 3), np.uint8), photometric="rgb", metadata={"Name": "label"})
    result = run(app, ["--json", f"{tmp_path}/*.tif", f"{tmp_path}/x.ome.tif#series=label"])
    first, second = json.loads(result.stdout)
    assert (first["channels"], first["focal_planes"], first["time_points"], first["read"]) == (2, 3, 2, 0)
    assert (first["channel_names"], first["channel_colors"]) == (["DAPI", "Cy5"], ["#FF0000", "#0000FF"])
    assert (first["choose"], first["ignored"]) == (["--z", "--t"], ["series 1 label"])
    assert (second["width"], second["channels"], second["read"], second["choose"]) == (30, 3, 1, [])
    assert second["path"].endswith("x.ome.tif#series=label")
    result = run(app, [str(tmp_path / "x.ome.tif")])
    for expected in ("0 cells: 50 x 40, 2 channels, 3 focal planes, 2 time points", "1 label: 30 x 20, 3 channels"):
        assert expected in result.stdout
    result = run(app, [str(tmp_path / "x.ome.tif#z=7")])
    assert result.exit_code == 1
    assert "has no focal plane 7, only 0 to 2; give another --z" in result.stderr


def test_a_map_has_its_coordinate_system_and_bounds(tmp_path: Path):
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 600000.0, 5000000.0, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True),
    ]
    tifffile.imwrite(tmp_path / "map.tif", np.zeros((40, 50), np.uint8), extratags=tags, metadata=None)
    (found,) = json.loads(run(app, ["--json", str(tmp_path / "map.tif")]).stdout)
    assert found["crs"] == "EPSG:32632"
    assert found["bounds"] == [600000.0, 4999600.0, 600500.0, 5000000.0]


def test_text(tmp_path: Path):
    write_pyramid(tmp_path / "image.tif")
    zarr.create_array(tmp_path / "image.zarr", shape=(40, 50), dtype="u2", chunks=(10, 20))
    result = run(app, [str(tmp_path / "*")])
    assert result.exit_code == 0
    for expected in ("image.tif", "image.zarr", "100 x 50 (1 : 2)", "uint16", "10 x 20", "0.5"):
        assert expected in result.stdout


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path):
    write_pyramid(tmp_path / "b.tif")
    (tmp_path / "a.tif").write_bytes(b"II*\0")
    result = run(app, ["--json", str(tmp_path / "a.tif"), str(tmp_path / "missing"), str(tmp_path / "b.tif")])
    assert result.exit_code == 1
    assert [one["path"] for one in json.loads(result.stdout)] == [str(tmp_path / "b.tif")]
    assert result.stderr.count("error: ") == 2
    assert "Traceback" not in result.stderr


def test_what_marks_missing_pixels_is_said(tmp_path: Path):
    path = tmp_path / "image.tif"
    for value, said in (("nan", "nan"), ("-9999", "-9999")):
        tifffile.imwrite(path, np.zeros((8, 8), np.float32), extratags=[(42113, 2, 0, value, True)])
        assert json.loads(run(app, ["--json", str(path)]).stdout)[0]["nodata"] == said


def test_run_folders_are_described_beside_images(tmp_path: Path):
    write_pyramid(tmp_path / "image.tif")
    folder = Path(__file__).parents[1] / "data" / "runs" / "classify"
    result = run(app, ["--json", str(tmp_path / "image.tif"), str(folder)])
    assert result.exit_code == 0
    image, trained = json.loads(result.stdout)
    assert (image["format"], trained["task"], trained["path"]) == ("TIFF", "classify", str(folder))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("[]")
    text = run(app, [str(folder), str(tmp_path / "run")])
    assert text.exit_code == 1
    assert "parameters" in text.stdout


def test_a_picture_of_augmentation(tmp_path: Path):
    image, sheet = tmp_path / "image.tif", tmp_path / "sheet.png"
    write_pyramid(image)
    result = run(app, [str(image), "--json", "--show-augmentation", str(sheet), "--augment", "flips,blur"])
    assert result.exit_code == 0, result.output
    assert [each["path"] for each in json.loads(result.stdout)] == [str(image)]
    assert result.stderr.endswith(f"{sheet}: flips,blur=1\n")
    with Image.open(sheet) as picture:
        assert picture.size[0] > 6 * 160


def test_a_picture_of_augmentation_is_of_one_image(tmp_path: Path):
    image = tmp_path / "image.tif"
    write_pyramid(image)
    for arguments, message in (
        (
            [str(image), str(image), "--show-augmentation", "a.png"],
            "--show-augmentation shows one image, and 2 are given",
        ),
        ([str(image), "--show-augmentation", "a.tif"], "--show-augmentation a.tif: writes PNG files"),
        ([str(image), "--augment", "flips"], "--augment is for --show-augmentation FILE"),
    ):
        result = run(app, arguments)
        assert isinstance(result.exception, FitError)
        assert str(result.exception).startswith(message)
