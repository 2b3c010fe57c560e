"""Files are segmented one after the other: their maps, a report each, and bad files left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.dense_models import GROUP_PIXELS, NAMES, checkpoint, logits_of_pixels, picture
from support.pictures import save

from fitcli.device.runtime import choose_runtime
from fitcli.distributed.image_queue import open_queue
from fitcli.errors import FitError
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.segment_files import plan_files, segment_files
from fitcli.tasks.segment.strips import NOT_SEEN
from models.dense import FITDense

CPU = choose_runtime("cpu", "fp32")
ALL = EncodingSettings(background=None)


@pytest.fixture(scope="module")
def model() -> Checkpoint[FITDense]:
    return replace(checkpoint(), folder=Path("run"))


def segmented(
    model: Checkpoint[FITDense], paths: list[Path], out: Path, settings: EncodingSettings = ALL, **options: Any
) -> list[dict[str, Any] | None]:
    others = {"probabilities": None, "polygons": None} | options
    with open_queue("cpu") as queue:
        planned = plan_files(paths, out, **others)
        return list(segment_files(queue, model, paths, planned, CPU, settings, out))


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with open_image(path, indices=True) as image:
        return image.read(Window(0, 0, *image.info.size))[..., 0]


def test_every_good_file_has_a_map_and_a_report(
    model: Checkpoint[FITDense], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes, paths = {"a": (40, 50), "c": (7, 30)}, [tmp_path / f"{name}.png" for name in "abc"]
    for name, size in sizes.items():
        save(tmp_path / f"{name}.png", picture(size))
    (tmp_path / "b.png").write_bytes(b"no image")
    first, bad, third = segmented(
        model, paths, tmp_path / "maps", probabilities=tmp_path / "shares", polygons=tmp_path / "parts"
    )
    assert bad is None
    assert capsys.readouterr().err.count("error: ") == 1
    for report, (name, size) in zip((first, third), sizes.items(), strict=True):
        assert report is not None
        assert (report["path"], report["height"], report["width"]) == (str(tmp_path / f"{name}.png"), *size)
        assert report["map"] == str(tmp_path / f"maps/{name}.tif")
        assert report["probabilities"] == str(tmp_path / f"shares/{name}.tif")
        assert report["polygons"] == str(tmp_path / f"parts/{name}.geojson")
        assert all(Path(report[each]).exists() for each in ("map", "probabilities", "polygons"))
        areas = report["areas"]
        assert list(areas) == list(NAMES)
        assert sum(each["pixels"] for each in areas.values()) + report["pixels_not_looked_at"] == size[0] * size[1]
        assert sum(each["share"] for each in areas.values()) == pytest.approx(1)
        expected = logits_of_pixels(model, picture(size)).argmax(axis=-1)
        found = pixels(tmp_path / f"maps/{name}.tif")
        np.testing.assert_array_equal(found, expected)
        assert [each["pixels"] for each in areas.values()] == np.bincount(found.ravel(), minlength=len(NAMES)).tolist()
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a.tif", "c.tif"]


def test_groups_that_are_left_out_are_in_no_class(model: Checkpoint[FITDense], tmp_path: Path) -> None:
    image = np.full((GROUP_PIXELS, 3 * GROUP_PIXELS, 3), 200, np.uint8)
    image[:, :GROUP_PIXELS] = picture((GROUP_PIXELS, GROUP_PIXELS))
    save(tmp_path / "a.png", image)
    settings = EncodingSettings(background=0.02)
    (report,) = segmented(model, [tmp_path / "a.png"], tmp_path / "map.png", settings)
    assert report is not None
    assert (report["groups"], report["skipped_groups"]) == (3, 2)
    assert report["pixels_not_looked_at"] == 2 * GROUP_PIXELS**2
    assert sum(each["pixels"] for each in report["areas"].values()) == GROUP_PIXELS**2
    found = pixels(tmp_path / "map.png")
    assert (found[:, GROUP_PIXELS:] == NOT_SEEN).all()
    assert (found[:, :GROUP_PIXELS] != NOT_SEEN).all()


def test_a_map_that_cannot_be_written_is_the_error_of_its_image(
    model: Checkpoint[FITDense], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "a.png", picture((20, 20)))
    outputs = plan_files([tmp_path / "a.png"], tmp_path / "map.tif", None, None)
    outputs = [replace(outputs[0], polygons=tmp_path / "missing/p.gpkg")]
    with open_queue("cpu") as queue:
        paths = [tmp_path / "a.png"]
        done = list(segment_files(queue, model, paths, outputs, CPU, ALL, tmp_path / "map.tif"))
    assert done == [None]
    assert capsys.readouterr().err.count("error: ") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"out": "map.tif"}, "one file for 2 images; give a folder"),
        ({"out": "map.gif"}, r"map\.gif: name it \.tif or"),
        ({"out": "maps", "polygons": "p.shp"}, r"p\.shp: name it \.geojson or"),
        ({"out": "maps", "polygons": "p.gpkg"}, "--polygons .* one file for 2 images"),
        ({"out": "maps", "probabilities": "maps"}, r"maps/a\.tif: is named for two outputs; give each its own"),
        ({"out": "."}, "would replace"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, outputs: dict[str, str], message: str) -> None:
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    others: dict[str, Any] = {"probabilities": None, "polygons": None}
    others |= {name: tmp_path / value for name, value in outputs.items()}
    with pytest.raises(FitError, match=message) as caught:
        plan_files(paths, **others)
    assert "\n" not in str(caught.value)
