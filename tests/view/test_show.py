"""In a notebook the page is served beside it, until it is closed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save
from support.polygons import collection, feature, square, write

from fitcli.errors import FitError
from fitcli.view.show import show

PATIENCE = 200


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return save(tmp_path / "image.tif", np.full((200, 300, 3), 90, np.uint8))


def fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("as_list", [False, True])
def test_a_cell_shows_the_page(tmp_path: Path, image: Path, as_list: bool) -> None:
    layer = write(tmp_path / "a.geojson", collection(feature(square(20, 30, 40), "tumor")))
    with show(image, [layer] if as_list else str(layer), height=321) as view:
        found = re.fullmatch(r'<iframe src="(http://127\.0\.0\.1:\d+/[\w-]{22}/)" .*></iframe>', view._repr_html_())
        assert found is not None
        assert 'height="321"' in view._repr_html_()
        assert view.url == found[1]
        assert b"fit view" in fetched(view.url)
        (pane,) = json.loads(fetched(view.url + "scene.json"))["panes"]
        assert (pane["image"]["name"], pane["layers"][0]["name"]) == ("image.tif", "a.geojson")
        assert fetched(view.url + "tile/0/9/0_0").startswith(b"\xff\xd8")
        assert view.url in repr(view)


def test_images_beside_each_other(image: Path) -> None:
    with show(image, image, side_by_side=True) as view:
        assert len(json.loads(fetched(view.url + "scene.json"))["panes"]) == 2


def test_after_closing_nothing_answers(image: Path) -> None:
    view = show(image)
    view.close()
    view.close()
    with pytest.raises(urllib.error.URLError):
        fetched(view.url)
    assert "closed" in view._repr_html_()
    assert view.url not in repr(view)
    assert not any(thread.name == "fit-view" for thread in threading.enumerate())


def test_what_cannot_be_shown_is_an_error_at_once(tmp_path: Path, image: Path) -> None:
    with pytest.raises(FitError, match="absent"):
        show(tmp_path / "absent.tif")
    with pytest.raises(FitError, match="no polygon on"):
        show(image, write(tmp_path / "a.geojson", collection(feature(square(9000, 9000, 4), "x"))))
    with show(image) as view, pytest.raises(FitError, match="the port is in use"):
        show(image, port=int(view.url.split(":")[2].split("/")[0]))


def test_nothing_has_to_be_installed_for_it() -> None:
    code = "import sys, fitcli.view.show; sys.exit(any(name in sys.modules for name in ('IPython', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
