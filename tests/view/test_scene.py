"""A scene has the images and layers of a call, by number, and refuses what does not fit with the name of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.pictures import save
from support.polygons import collection, feature, square, write

from fitcli.errors import FitError, ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.read_as import ReadAs
from fitcli.images.window import Window
from fitcli.view.scene import ViewScene


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "image.tif", np.full((200, 300, 3), (200, 40, 90), np.uint8))


@pytest.fixture
def class_map(tmp_path: Path) -> Path:
    info = ImageInfo(height=50, width=75, channels=1, dtype=np.dtype(np.uint8))
    text = "classes: 0=background, 1=tumor; 255=not looked at"
    with create_image(tmp_path / "map.tif", info, description=text, resampling="nearest") as canvas:
        canvas.write(Window(0, 0, 50, 75), np.ones((50, 75, 1), np.uint8))
    return tmp_path / "map.tif"


def test_layers_over_an_image(tmp_path: Path, image: Path, class_map: Path) -> None:
    shapes = write(tmp_path / "a.geojson", collection(feature(square(20, 30, 40), "tumor")))
    with ViewScene([image, class_map, shapes]) as scene:
        (pane,) = scene.document()["panes"]
        json.dumps(pane, allow_nan=False)
        assert (pane["image"]["id"], [layer["id"] for layer in pane["layers"]]) == (0, [1, 2])
        assert [layer["kind"] for layer in pane["layers"]] == ["classes", "features"]
        # One class has one colour in the map and in the file of polygons.
        assert pane["layers"][0]["classes"][1]["color"] == pane["layers"][1]["classes"][0]["color"]
        values = scene.values(0, 20.5, 30.5)
        assert values["1"] == "tumor"
        assert len(values["0"].split(", ")) == 3


def test_images_side_by_side(tmp_path: Path, image: Path, class_map: Path) -> None:
    other = save(tmp_path / "other.png", np.zeros((70, 20, 3), np.uint8))
    shapes = write(tmp_path / "a.geojson", collection(feature(square(2, 3, 4), "x")))
    with ViewScene([image, other, shapes, class_map], side_by_side=True) as scene:
        panes = scene.document()["panes"]
    assert [pane["image"]["name"] for pane in panes] == ["image.tif", "other.png", "map.tif"]
    assert [[layer["name"] for layer in pane["layers"]] for pane in panes] == [[], ["a.geojson"], ["map.tif"]]
    assert panes[2]["layers"][0]["opacity"] == 1


@pytest.mark.parametrize(
    ("choice", "how", "layers"),
    [
        ("", {}, 1),
        ("#level=1", {}, 1),
        ("", {"level": 1}, 1),
        ("", {"mpp": 1.5}, 1),
        # Of colours, channels can be chosen; the indices are one channel.
        ("", {"channels": "0,1,2"}, 0),
        ("#channels=2,1", {}, 0),
    ],
    ids=str,
)
def test_a_map_beside_others_has_its_colours_as_it_is_read(
    tmp_path: Path, image: Path, choice: str, how: dict[str, Any], layers: int
) -> None:
    path = tmp_path / "other.tif"
    info = ImageInfo(height=60, width=40, channels=1, dtype=np.dtype("u1"), mpp=0.5, palette=((9, 8, 7),) * 256)
    with create_image(path, info, description="classes: 0=a, 1=b; 255=not looked at", levels=2,
                      resampling="nearest") as canvas:  # fmt: skip
        canvas.write(Window(0, 0, 60, 40), np.ones((60, 40, 1), np.uint8))
    given = image if not how else path
    with ViewScene([given, Path(f"{path}{choice}")], ReadAs(**how), side_by_side=True) as scene:
        pane = scene.document()["panes"][1]
        assert len(pane["layers"]) == layers
        if layers:
            assert pane["layers"][0]["kind"] == "classes"
            assert pane["layers"][0]["place"] == [0, 0, 1, 1]


def test_what_does_not_fit_is_named(tmp_path: Path, image: Path, class_map: Path) -> None:
    other = save(tmp_path / "other.png", np.zeros((70, 20, 3), np.uint8))
    with pytest.raises(ImageError, match=r"other\.png: has 20 x 70 pixels"):
        ViewScene([image, class_map, other])
    shapes = write(tmp_path / "a.geojson", collection(feature(square(2, 3, 4), "x")))
    with pytest.raises(FitError, match=r"a\.geojson: holds polygons or objects; give the image"):
        ViewScene([shapes, image])
    with pytest.raises(ImageError, match="no such file"):
        ViewScene([image, tmp_path / "absent.tif"])


def test_names_that_disguise_themselves_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "<b>a\u202egnp.png"
    save(tmp_path / "x.png", np.zeros((9, 9, 3), np.uint8)).rename(path)
    with ViewScene([path]) as scene:
        assert scene.document()["panes"][0]["image"]["name"] == "<b>a\\u202egnp.png"


@pytest.mark.parametrize(
    ("axes", "what", "option"), [("ZYX", "focal planes", "z"), ("TYX", "time points", "t"), ("QYX", "pages", "z")]
)
def test_planes_that_are_not_shown_are_said_for_images_and_layers(
    tmp_path: Path, axes: str, what: str, option: str
) -> None:
    path = tmp_path / "planes.tif"
    planes = np.arange(3, dtype=np.uint8)[:, None, None].repeat(20, 1).repeat(30, 2)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": axes})
    said: list[str] = []
    with ViewScene([path, path, Path(f"{path}#{option}=2")], report=said.append) as scene:
        assert scene.values(0, 1, 1) == {"0": "0", "1": "0", "2": "2"}
    shows = f"{path}: shows the first of 3 {what}; "
    assert said == [f"{shows}--{option} chooses another", f"{shows}#{option}=N at the end of its name chooses another"]


def test_the_first_of_several_planes_is_shown_and_said(tmp_path: Path) -> None:
    path = tmp_path / "z.ome.tif"
    planes = np.arange(3, dtype=np.uint8)[:, None, None].repeat(20, 1).repeat(30, 2)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "ZYX"})
    said: list[str] = []
    with ViewScene([path], report=said.append) as scene:
        assert scene.values(0, 1, 1) == {"0": "0"}
    assert said == [f"{path}: shows the first of 3 focal planes; --z chooses another"]
    with ViewScene([Path(f"{path}#z=2")], report=said.append) as scene:
        assert scene.values(0, 1, 1) == {"0": "2"}
    assert len(said) == 1
