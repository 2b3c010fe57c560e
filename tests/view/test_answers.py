"""Addresses mean parts of a scene and nothing else, and a file that breaks does not end the answers."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pictures import save

from fitcli.errors import ImageError
from fitcli.view.answers import PAGE_FILES, Answers
from fitcli.view.scene import ViewScene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ViewScene]:
    pixels = np.random.default_rng(0).integers(0, 255, (600, 800, 3)).astype(np.uint8)
    heat = np.ones((75, 100, 2), np.float32)
    paths = [save(tmp_path / "image.tif", pixels), save(tmp_path / "heat.tif", heat)]
    with ViewScene(paths) as opened:
        yield opened


@pytest.mark.parametrize("name", PAGE_FILES)
def test_the_files_of_the_page(scene: ViewScene, name: str) -> None:
    answer = Answers(scene).get(name)
    assert answer.status == 200
    assert answer.body
    # Scripts and styles stand in files of their own, as the policy demands.
    if answer.kind.startswith("text/html"):
        text = answer.body.decode()
        assert "<style" not in text
        assert "onclick" not in text
        assert 'style="' not in text
        assert all('src="' in part for part in text.split("<script")[1:])


def test_the_page_needs_no_other_machine(scene: ViewScene) -> None:
    for name in ("", "view.js", "view.css"):
        assert not re.findall(rb"https?:|@import|url\(", Answers(scene).get(name).body)


def test_tiles_and_values(scene: ViewScene) -> None:
    answers = Answers(scene)
    image = answers.get("tile/0/10/0_0")
    assert (image.status, image.kind, image.keep) == (200, "image/jpeg", True)
    layer = answers.get("tile/1/7/0_0", "channel=1")
    assert Image.open(io.BytesIO(layer.body)).size == (100, 75)
    assert answers.get("tile/0/10/0_0", "c=0:0:100:ffffff").body != image.body
    assert answers.get("tile/0/10/0_0").body is image.body
    values = json.loads(answers.get("values/0/5_6").body)
    assert values["1"] == "1, 1"
    assert json.loads(answers.get("scene.json").body)["panes"][0]["image"]["width"] == 800
    assert json.loads(answers.get("layer/1").body)["kind"] == "values"


@pytest.mark.parametrize(
    "address",
    ["..", "../../etc/passwd", "%2e%2e/etc/passwd", "/etc/passwd", "page/view.html", "view.html", "view.js/", "tile",
     "tile/0/10/4_0", "tile/0/11/0_0", "tile/2/10/0_0", "tile/9999/10/0_0", "tile/-1/10/0_0", "tile/0/10/0_-1",
     "tile/0/99999999999/0_0", "tile/0/10/99999999999999_0", "tile/0/10/0_0/", "tile/\u0660/10/0_0", "values/1/0_0",
     "values/0/0_0x", "layer/2", "tile/0/10/0_0?c=1", "\x00", "__init__.py"],
)  # fmt: skip
def test_everything_else_is_not_found(scene: ViewScene, address: str) -> None:
    assert Answers(scene).get(address).status == 404


@pytest.mark.parametrize(
    ("address", "query"),
    [("tile/0/10/0_0", "c=3:0:255:ffffff"), ("tile/0/10/0_0", "c=" + "0" * 1000), ("tile/1/7/0_0", "channel=2"),
     ("tile/1/7/0_0", "channel=-1"), ("tile/0/10/0_0", "&".join(["a=1"] * 9))],
)  # fmt: skip
def test_impossible_choices_are_not_found(scene: ViewScene, address: str, query: str) -> None:
    assert Answers(scene).get(address, query).status == 404


def test_a_file_that_breaks_says_so_in_its_place(scene: ViewScene, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(scene)
    good = answers.get("tile/0/10/0_0")
    reader = type(scene.shown[0].image)  # type: ignore[union-attr]

    def fail(*_: object) -> None:
        raise ImageError("image.tif", "is cut off; copy it again")

    with monkeypatch.context() as patch:
        patch.setattr(reader, "read", fail)
        broken = answers.get("tile/0/10/1_0")
        assert (broken.status, broken.kind, broken.keep) == (200, "image/png", False)
        pixels = np.asarray(Image.open(io.BytesIO(broken.body)))
        assert pixels.shape == (256, 256, 3)
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10, "it holds a text"
        assert json.loads(answers.get("values/0/5_6").body) == {"error": "is cut off; copy it again"}
        patch.setattr(reader, "read", lambda *_: 1 / 0)
        assert answers.get("tile/0/10/1_0").status == 200
        assert answers.get("tile/0/10/0_0") == good
    assert answers.get("tile/0/10/1_0").kind == "image/jpeg"
