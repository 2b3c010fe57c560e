"""Layers of pixels: what a file is, the colours of its tiles, and the value at a place."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pictures import save

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.tasks.classify.color_scale import EVIDENCE
from fitcli.view.raster_layer import RasterLayer, listed_names, open_layer

IMAGE = ArrayReader(np.zeros((400, 600, 3), np.uint8), path=Path("image.tif"))


def write(path: Path, pixels: np.ndarray, description: str = "", **settings: Any) -> Path:
    info = ImageInfo(
        height=pixels.shape[0], width=pixels.shape[1], channels=pixels.shape[2], dtype=pixels.dtype, **settings
    )
    with create_image(path, info, description=description or None, resampling="nearest") as canvas:
        canvas.write(Window(0, 0, *pixels.shape[:2]), pixels)
    return path


def opened(path: Path) -> RasterLayer:
    return open_layer(path.name, path, IMAGE, {"Evidence": EVIDENCE})


@pytest.mark.parametrize(
    ("choice", "size"), [("", (100, 150)), ("#level=0", (100, 150)), ("#level=1", (50, 75)), ("#mpp=16", (25, 38))]
)
@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_layer_is_read_at_the_level_or_scale_of_its_name(
    tmp_path: Path, suffix: str, choice: str, size: tuple[int, int]
) -> None:
    values = np.random.default_rng(0).integers(0, 2, (100, 150, 1)).astype(np.uint8) * 2
    info = ImageInfo(height=100, width=150, channels=1, dtype=values.dtype, mpp=4.0, palette=((0, 0, 0),) * 256)
    path = tmp_path / f"map{suffix}"
    text = "classes: 0=background, 1=other, 2=tumor; 255=not looked at"
    with create_image(
        path, info, description=text, resampling="nearest", levels=2, classes=("background", "other", "tumor")
    ) as canvas:
        canvas.write(Window(0, 0, 100, 150), values)
    layer = opened(Path(f"{path}{choice}"))
    assert layer.image.info.size == size
    assert (layer.place.across, layer.place.down) == pytest.approx((600 / size[1], 400 / size[0]), rel=0.02)
    # A mean of two classes would be a third one.
    assert set(np.unique(layer.image.read(Window(0, 0, *size)))) == {0, 2}
    layer.image.close()


def test_a_level_that_a_layer_lacks_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "heat.tif", np.zeros((50, 75, 1), np.float32))
    with pytest.raises(ImageError, match="has no level 7, only level 0"):
        opened(Path(f"{path}#level=7"))


def shown(layer: RasterLayer, **options: Any) -> np.ndarray:
    """The tile of the whole layer."""
    return np.asarray(Image.open(io.BytesIO(layer.tile(layer.grid.top, 0, 0, **options))))


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
def test_a_heat_map_has_the_colours_of_its_scale(tmp_path: Path, suffix: str) -> None:
    values = np.full((50, 75, 1), 10, np.float32)
    values[:10] = np.nan
    text = "Evidence: times the even share"
    layer = opened(write(tmp_path / f"heat{suffix}", values, text, nodata=float("nan"), channel_names=("evidence",)))
    color, alpha = EVIDENCE.shades(np.float32([[10]]))
    tile = shown(layer)
    assert tile.shape == (50, 75, 4)
    assert (tile[:10, :, 3] == 0).all()
    assert np.abs(tile[20, 20].astype(float) - [*color[0, 0], 255 * alpha[0, 0]]).max() <= 0.51
    document = layer.document()
    assert (document["kind"], document["place"]) == ("values", [0, 0, 8, 8])
    assert document["scales"][0]["title"] == text
    assert layer.value_text(300, 200).removeprefix("evidence ") == "10"
    assert layer.value_text(601, 200) == ""
    layer.image.close()


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".png"])
def test_a_map_of_classes_is_opaque_where_it_has_a_class(tmp_path: Path, suffix: str) -> None:
    values = np.full((100, 150, 1), 1, np.uint8)
    values[50:] = 255
    text = "classes: 0=background, 1=tumor; 255=not looked at"
    palette = ((60, 60, 60), (10, 200, 30), *[(255, 255, 255)] * 254)
    path = tmp_path / f"map{suffix}"
    info = ImageInfo(height=100, width=150, channels=1, dtype=values.dtype, nodata=255, palette=palette)
    with create_image(path, info, description=text, resampling="nearest", classes=("background", "tumor")) as canvas:
        canvas.write(Window(0, 0, 100, 150), values)
    layer = opened(path)
    tile = shown(layer)
    color = layer.legend.colors[1]  # type: ignore[union-attr]
    assert color == (10, 200, 30)
    assert tile[20, 20].tolist() == [*color, 255]
    # A PNG does not say that 255 is no class.
    assert (tile[60, 20, 3] == 0) == (suffix != ".png")
    assert (shown(layer, hidden=frozenset({1}))[20, 20, 3]) == 0
    assert layer.value_text(4, 4) == ("1" if suffix == ".png" else "tumor")
    layer.image.close()


def test_probabilities_have_a_channel_for_each_class(tmp_path: Path) -> None:
    values = np.zeros((50, 75, 2), np.uint8)
    values[..., 1] = 255
    text = "probability of background, tumor: 255 stands for 1; all 0 if not looked at"
    layer = opened(write(tmp_path / "p.tif", values, text))
    assert layer.channel_names == ("background", "tumor")
    assert shown(layer, channel=0)[0, 0].tolist() == [68, 1, 84, 255]
    assert shown(layer, channel=1)[0, 0].tolist() == [253, 231, 37, 255]
    assert layer.value_text(0, 0) == "background 0, tumor 255"
    layer.image.close()


def test_a_picture_is_a_layer_with_its_alpha(tmp_path: Path) -> None:
    layer = opened(save(tmp_path / "x.png", np.full((200, 300, 3), (9, 80, 200), np.uint8)))
    assert (layer.kind, shown(layer)[5, 5].tolist()) == ("picture", [9, 80, 200, 255])
    layer.image.close()
    pixels = np.full((200, 300, 4), (9, 80, 200, 77), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    layer = opened(tmp_path / "alpha.png")
    assert shown(layer)[5, 5].tolist() == [9, 80, 200, 77]
    layer.image.close()


def test_values_of_any_other_file_are_shown_in_their_range(tmp_path: Path) -> None:
    values = np.linspace(-5, 5, 5000).reshape(50, 100, 1).astype(np.float32)
    with pytest.raises(ImageError, match=r"has 100 x 50 pixels, but image\.tif has 600 x 400"):
        opened(write(tmp_path / "x.tif", values))
    layer = opened(write(tmp_path / "y.tif", values[:, :75]))
    assert layer.document()["scales"][0]["ticks"][0]["text"].startswith("-")
    assert not layer.has_own_colors
    layer.image.close()


def test_titles_list_the_classes_of_the_channels() -> None:
    assert listed_names("Contribution to a, b for grade: logit if the whole image were like it", 2) == ("a", "b")
    assert listed_names("Contribution to a, b: logit", 3) == ()
    assert listed_names("Evidence: times the even share", 1) == ()
