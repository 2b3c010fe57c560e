"""Evidence shows at the place where it was found, whatever the size and the kind of the image."""

from __future__ import annotations

import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.patch_places import patch_at
from support.pictures import save

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader
from fitcli.images.georeference import GeoReference
from fitcli.images.open import open_image
from fitcli.images.rescaled import Rescaled
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.classify import heatmap
from fitcli.tasks.classify.classify_image import Classification, Contributions
from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE
from fitcli.tasks.classify.evidence import patch_areas
from fitcli.tasks.classify.heatmap import LONGEST_SIDE, heatmap_bytes, kept_bytes, overlay, with_legend, write_heatmap
from fitcli.tasks.classify.legend import legend, legend_size
from fitcli.tasks.classify.patch_map import contribution_map, evidence_map

PATCH, GROUP = 8, 4


def found(size: tuple[int, int], *places: tuple[int, int], weights: tuple[float, ...] = ()) -> Classification:
    """A classification whose evidence lies in the patches that hold the given pixels; `weights` are per area."""
    grid = PatchGrid(size, PATCH, GROUP)
    evidence, areas = np.zeros((grid.count, GROUP**2), np.float32), patch_areas(grid, list(grid.coordinates()))
    for number, (y, x) in enumerate(places):
        place = patch_at(grid, y, x)
        evidence[place] = (weights[number] if weights else 1) * areas[place]
    evidence /= max(evidence.sum(), np.finfo(np.float32).tiny)
    by_class = {"a": Contributions(3 * evidence, 0.1), "b": Contributions(-3 * evidence, -0.1)}
    return Classification(np.array([1.0, 0.0]), evidence, grid, list(grid.coordinates()), by_class=by_class)


def grey(size: tuple[int, int], channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8).repeat(channels, -1)


def marked(image: ImageReader, result: Classification) -> np.ndarray:
    """Where a picture differs from one without any evidence."""
    plain = overlay(image, 0 * evidence_map(result), result.grid).astype(int)
    return np.asarray(np.abs(drawn(image, result) - plain).max(-1) > 2)


def colored(picture: np.ndarray) -> np.ndarray:
    """Where a picture of something grey shows colour."""
    return np.ptp(picture.astype(int), axis=-1) > 5


def expected(size: tuple[int, int], *places: tuple[int, int]) -> np.ndarray:
    """The patches that hold the given pixels."""
    mask = np.zeros(size, bool)
    for y, x in places:
        mask[y // PATCH * PATCH : (y // PATCH + 1) * PATCH, x // PATCH * PATCH : (x // PATCH + 1) * PATCH] = True
    return mask


def drawn(image: ImageReader, result: Classification) -> np.ndarray:
    return overlay(image, evidence_map(result), result.grid)


@pytest.mark.parametrize("size", [(64, 96), (61, 97), (200, 33), (9, 9)], ids=str)
def test_small_images_are_shown_as_they_are(size: tuple[int, int]) -> None:
    for place in ((0, 0), (size[0] // 2, size[1] // 3), (size[0] - 1, size[1] - 1)):
        image, result = ArrayReader(grey(size)), found(size, place)
        assert drawn(image, result).dtype == np.uint8
        np.testing.assert_array_equal(marked(image, result), expected(size, place))


def test_the_image_can_be_recognised_where_there_is_no_evidence() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 200
    picture = drawn(ArrayReader(pixels), found((64, 64), (60, 60)))
    assert picture[:30].mean() > picture[34:, :50].mean() + 100


@pytest.mark.walk(1)
@pytest.mark.parametrize("levels", [1, "auto"])
def test_a_mark_of_one_patch_shows_on_a_large_image(tmp_path: Path, levels: object) -> None:
    size = (2100, 6500)
    pixels = np.broadcast_to(np.arange(6500)[None, :, None] // 26, (*size, 3)).astype(np.uint8)
    path = save(tmp_path / "large.tif", pixels, levels=levels, compression="deflate")
    place = (1717, 4321)
    with open_image(path) as image:
        picture, mark = drawn(image, found(size, place)), marked(image, found(size, place))
    assert max(picture.shape) <= LONGEST_SIDE
    assert picture.shape[1] / picture.shape[0] == pytest.approx(6500 / 2100, rel=0.01)
    rows, columns = np.nonzero(mark)
    assert 5**2 <= len(rows) <= 12**2, "a square that can be seen, and not much more"
    assert picture[rows, columns].sum(-1).min() > 600, "as hot as if nothing else shared its pixel of the view"
    scale = 6500 / picture.shape[1]
    assert abs(rows.mean() * scale - place[0]) < 2 * PATCH
    assert abs(columns.mean() * scale - place[1]) < 2 * PATCH


def test_no_row_is_darker_than_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # Strips that don't divide the image: what is left over must not become a row of its own.
    monkeypatch.setattr(heatmap, "STRIP_PIXELS", 138_000)
    pixels = np.random.default_rng(0).integers(100, 200, (4003, 1000, 1), np.uint8)
    rows = drawn(ArrayReader(pixels), found((4003, 1000))).mean(axis=(1, 2))
    assert np.abs(rows - np.median(rows)).max() < 20


def test_stronger_evidence_is_brighter() -> None:
    places = ((4, 4), (20, 20), (40, 40))
    result = found((64, 64), *places, weights=(0.1, 0.3, 0.6))
    values = evidence_map(result)
    assert [values[y // PATCH, x // PATCH] for y, x in places] == pytest.approx([6.4, 19.2, 38.4])
    assert np.count_nonzero(values) == 3
    picture = drawn(ArrayReader(np.zeros((64, 64, 3), np.uint8)), result)
    shown = [picture[y, x].astype(int).sum() for y, x in places]
    assert shown == sorted(shown)
    assert shown[0] < shown[1] < shown[2]


def test_a_picture_shows_the_values_of_the_layer_in_the_colours_of_the_legend(tmp_path: Path) -> None:
    """Whatever the strongest value is: the same value has the same colour in every picture."""
    size = (64, 64)
    colors: set[tuple[float, ...]] = set()
    for weights in ((0.1, 0.9), (0.1, 0.1), (0.9, 0.1)):
        image = ArrayReader(np.zeros((*size, 1), np.uint8))
        result = found(size, (4, 4), (50, 60), weights=weights)
        write_heatmap(tmp_path / "a.tif", image, result)
        write_heatmap(tmp_path / "a.png", image, result)
        with open_image(tmp_path / "a.tif") as layer, open_image(tmp_path / "a.png") as picture:
            values, shown = (each.read(Window(0, 0, *size)) for each in (layer, picture))
        assert values.mean() == pytest.approx(1)
        wanted = EVIDENCE.blend(np.full((*size, 1), 40, np.float32), values[..., 0])
        np.testing.assert_allclose(shown, wanted, atol=0.51)
        both = np.concatenate([values.astype(float).round(3), shown], axis=-1)
        colors |= set(map(tuple, np.unique(both.reshape(-1, 4), axis=0).tolist()))
    assert len(colors) == len({value for value, *_ in colors}) == 4


@pytest.mark.parametrize("size", [(64, 64), (61, 97), (700, 1100)], ids=str)
def test_a_flat_map_looks_flat(size: tuple[int, int]) -> None:
    grid = PatchGrid(size, PATCH, GROUP)
    areas = patch_areas(grid, list(grid.coordinates()))
    even = Classification(np.array([1.0]), areas / areas.sum(), grid, list(grid.coordinates()))
    picture = drawn(ArrayReader(np.full((*size, 1), 100, np.uint8)), even)
    assert (picture == picture[0, 0]).all()
    one_patch = drawn(ArrayReader(np.full((*size, 1), 100, np.uint8)), found(size, (20, 20)))
    assert int(one_patch.max()) > int(picture.max()) + 60, "far from the colours of strong evidence"


def test_groups_that_were_left_out_have_no_value_and_are_hatched(tmp_path: Path) -> None:
    size = (64, 64)
    grid = PatchGrid(size, PATCH, GROUP)
    evidence = np.full((1, GROUP**2), 1 / GROUP**2, np.float32)
    result = Classification(np.array([1.0]), evidence, grid, [(1, 0)], by_class={"a": Contributions(evidence, 0.0)})
    image = ArrayReader(np.full((*size, 1), 100, np.uint8))
    looked_at = np.zeros(size, bool)
    looked_at[32:, :32] = True
    for classes in ((), ("a",)):
        write_heatmap(tmp_path / "a.tif", image, result, classes)
        write_heatmap(tmp_path / "a.png", image, result, classes)
        with open_image(tmp_path / "a.tif") as layer, open_image(tmp_path / "a.png") as picture:
            values, shown = (each.read(Window(0, 0, *size)) for each in (layer, picture))
            assert np.isnan(layer.info.nodata or 0)
        np.testing.assert_allclose(values[looked_at], 1, rtol=1e-5)
        assert np.isnan(values[~looked_at]).all()
        np.testing.assert_array_equal(colored(shown), looked_at)
        assert len(np.unique(shown[~looked_at])) == 2
        assert len(np.unique(shown[looked_at], axis=0)) == 1


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize(("dtype", "nodata"), [("float32", -9999.0), ("float32", float("nan")), ("float64", None),
                                               ("int16", -32768.0), ("uint8", 0.0)])  # fmt: skip
def test_missing_patches_have_no_value(tmp_path: Path, dtype: str, nodata: float | None, levels: int) -> None:
    """A patch with a pixel that is present keeps its own. Values of others do not change."""
    size, value = (70, 90), np.nan if nodata is None else nodata
    pixels = np.random.default_rng(0).integers(50, 99, (*size, 2)).astype(dtype)
    pixels[:32] = np.array(value).astype(dtype)
    pixels[:8, :2] = 60
    pixels[32:, :, 1] = np.array(value).astype(dtype)
    image = ArrayReader([pixels, pixels[::2, ::2]][:levels], nodata=nodata)
    result = found(size, (20, 20), (0, 0), (50, 40), (69, 89), weights=(0.5, 0.2, 0.2, 0.1))
    write_heatmap(tmp_path / "layer.tif", image, result)
    with open_image(tmp_path / "layer.tif") as layer:
        values = layer.read(Window(0, 0, *size))[..., 0]
    # The last patch has an eighth of the area of a whole one.
    even = 64 * (0.9 + 0.1 * 12 / 64) / (70 * 90)
    assert np.isnan(values[20, 20])
    shown = [values[place] for place in ((0, 0), (50, 40), (69, 89))]
    assert shown == pytest.approx([0.2 / even, 0.2 / even, 0.1 / even], rel=1e-4)
    write_heatmap(tmp_path / "picture.png", image, result)
    with open_image(tmp_path / "picture.png") as picture:
        shown = picture.read(Window(0, 0, *size)).astype(int)
    assert not colored(shown)[16:30].any()
    assert shown[16:30].max() <= 45 < shown[34:].mean(), "missing pixels are dark, others stretch over the greys"


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_images_of_every_scale_look_alike(scale: float) -> None:
    pixels = grey((64, 64)).astype(np.float64) * scale
    expected = drawn(ArrayReader(pixels / scale), found((64, 64), (5, 5)))
    np.testing.assert_allclose(drawn(ArrayReader(pixels), found((64, 64), (5, 5))), expected, atol=1)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("size", [(1200, 531), (5, 3)], ids=str)
def test_a_layer_lies_on_the_image(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    places = [(0, 0), (size[0] // 2, size[1] // 3), (size[0] - 1, size[1] - 1)]
    image = ArrayReader(grey(size), mpp=0.5)
    write_heatmap(tmp_path / f"layer{suffix}", image, found(size, *places))
    with open_image(tmp_path / f"layer{suffix}") as layer:
        assert (layer.info.size, layer.info.channels, layer.info.dtype) == (size, 1, np.float32)
        assert layer.info.mpp == pytest.approx(0.5)
        assert (len(layer.info.levels) > 1) == (max(size) > 1000)
        values = layer.read(Window(0, 0, *size))[..., 0]
        np.testing.assert_array_equal(values > 0, expected(size, *places))
        assert values.mean(dtype=float) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_layer_of_a_map_has_its_place_and_the_scale_of_its_pixels(tmp_path: Path, suffix: str, factor: float) -> None:
    """OME-Zarr has no place for a georeference."""
    geo = GeoReference(scale=(10.0, 10.0, 0.0), tiepoints=(0, 0, 0, 5000.0, 9000.0, 0))
    stored = ArrayReader(grey((250, 250)), mpp=0.5)
    stored.info = replace(stored.info, geo=geo)
    image = Rescaled(stored, 0, factor)
    size = image.info.size
    write_heatmap(tmp_path / f"layer{suffix}", image, found(size, (0, 0)))
    with open_image(tmp_path / f"layer{suffix}") as layer:
        assert layer.info.mpp == pytest.approx(0.5 * 250 / size[0], rel=1e-6)
        if suffix != ".zarr":
            assert layer.info.geo is not None
            assert layer.info.geo.scale[0] * size[1] == pytest.approx(10.0 * 250)


def test_a_layer_is_the_same_however_it_is_cut_into_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size, places = (100, 70), ((10, 10), (50, 69), (99, 0))
    layers = []
    for number, pixels in enumerate((1, 3000, 2**22)):
        monkeypatch.setattr(heatmap, "STRIP_PIXELS", pixels)
        write_heatmap(tmp_path / f"{number}.tif", ArrayReader(grey(size)), found(size, *places), ("a", "b"))
        with open_image(tmp_path / f"{number}.tif") as layer:
            layers.append(layer.read(Window(0, 0, *size)))
    assert layers[0].any()
    np.testing.assert_array_equal(layers[0], layers[1])
    np.testing.assert_array_equal(layers[0], layers[2])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_kind_of_image_gets_a_picture(tmp_path: Path, channels: int, dtype: str, suffix: str) -> None:
    size = (40, 50)
    pixels = grey(size, channels).astype(dtype) * np.array(257 if dtype == "uint16" else 1, dtype)
    result = found(size, (20, 30))
    write_heatmap(tmp_path / f"picture{suffix}", ArrayReader(pixels), result)
    with open_image(tmp_path / f"picture{suffix}") as picture:
        height, width = legend_size(50)
        assert (picture.info.size, picture.info.channels) == ((40 + height, width), 3)
        shown = picture.read(Window(0, 0, *size)).astype(int)
    hot, red_over_blue = expected(size, (20, 30)), shown[..., 0] - shown[..., 2]
    assert red_over_blue[hot].mean() > 50
    assert red_over_blue[~hot].mean() < 0, "nowhere else, but for what JPEG smears"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_do_not_spoil_the_rest(bad: float) -> None:
    size = (64, 64)
    pixels = np.random.default_rng(0).normal(0, 1e-3, (*size, 1)).astype(np.float32)
    pixels[32:] += 1
    pixels[:8] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = drawn(ArrayReader(pixels), found(size, (60, 60)))
    assert picture[32:, :50].mean() > picture[8:32, :50].mean() + 100
    np.testing.assert_array_equal(picture[..., 0] > picture[..., 2], expected(size, (60, 60)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3e38])
def test_images_without_contrast(value: float) -> None:
    pixels = np.full((2000, 40, 1), value, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = drawn(ArrayReader(pixels), found((2000, 40), (3, 3)))
    assert colored(picture).any()


def test_a_thin_stroke_on_plain_ground_is_seen() -> None:
    pixels = np.zeros((200, 200, 1), np.uint8)
    pixels[100, 50:150] = 255
    picture = drawn(ArrayReader(pixels), found((200, 200), (3, 3)))
    assert picture[100, 60:140].min() > picture[150, 60:140].max() + 100


def test_images_smaller_than_a_patch() -> None:
    for size in ((1, 1), (1, 7), (3, 2)):
        picture = drawn(ArrayReader(grey(size)), found(size, (0, 0)))
        assert picture.shape == (*size, 3)
        assert colored(picture).all()


def test_long_and_narrow_images() -> None:
    size = (5000, 3)
    picture = drawn(ArrayReader(grey(size)), found(size, (4000, 1)))
    assert picture.shape[0] <= LONGEST_SIDE
    rows = np.nonzero((picture[..., 0] > picture[..., 2]).any(axis=1))[0]
    assert abs(rows.mean() / picture.shape[0] - 0.8) < 0.01


def test_a_place_that_cannot_be_written_is_an_image_error(tmp_path: Path) -> None:
    for name in ("none/picture.png", "none/layer.tif", "none/layer.zarr", "picture.bmp"):
        with pytest.raises(ImageError, match=name.rsplit("/", 1)[-1]):
            write_heatmap(tmp_path / name, ArrayReader(grey((16, 16))), found((16, 16), (0, 0)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
def test_a_layer_has_a_channel_for_each_class(tmp_path: Path, suffix: str) -> None:
    size = (100, 70)
    result = found(size, (10, 10), (99, 69))
    write_heatmap(tmp_path / f"layer{suffix}", ArrayReader(grey(size)), result, ("b", "a"))
    with open_image(tmp_path / f"layer{suffix}") as layer:
        values = layer.read(Window(0, 0, *size))
    assert values.shape == (*size, 2)
    for channel, name in enumerate(("b", "a")):
        expected_values = contribution_map(result, name).repeat(PATCH, 0).repeat(PATCH, 1)[: size[0], : size[1]]
        np.testing.assert_array_equal(values[..., channel], expected_values)
    assert values[10, 10].tolist() == [-values[10, 10, 1], values[10, 10, 1]]


def test_what_speaks_for_a_class_is_red_and_what_speaks_against_it_blue() -> None:
    size = (64, 64)
    image, result = ArrayReader(np.full((*size, 1), 100, np.uint8)), found(size, (20, 20))
    for name, sign in (("a", 1), ("b", -1)):
        picture = overlay(image, contribution_map(result, name), result.grid, CONTRIBUTION).astype(int)
        red_over_blue = picture[..., 0] - picture[..., 2]
        np.testing.assert_array_equal(sign * red_over_blue > 50, expected(size, (20, 20)))
        assert np.abs(red_over_blue[~expected(size, (20, 20))]).max() <= 1


def test_the_strongest_value_shows_whatever_its_sign() -> None:
    size = (2100, 6500)
    image = ArrayReader(np.full((*size, 1), 100, np.uint8))
    result = found(size, (1717, 4321))
    for name, sign in (("a", 1), ("b", -1)):
        picture = overlay(image, contribution_map(result, name), result.grid, CONTRIBUTION).astype(int)
        assert 5**2 <= np.count_nonzero(sign * (picture[..., 0] - picture[..., 2]) > 50) <= 12**2


@pytest.mark.parametrize("width", [3, 500, 1600])
def test_the_legend_stands_below_the_picture(width: int) -> None:
    picture = np.full((20, width, 3), 77, np.uint8)
    whole = with_legend(picture, "title", EVIDENCE)
    assert (whole[:20, :width] == 77).all()
    assert (whole[:20, width:] == 0).all()
    np.testing.assert_array_equal(whole[20:], legend(width, "title", EVIDENCE))


def test_a_picture_shows_one_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one class, not 2"):
        write_heatmap(tmp_path / "a.png", ArrayReader(grey((16, 16))), found((16, 16), (0, 0)), ("a", "b"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.walk
@pytest.mark.parametrize(
    ("suffix", "classes"), [(".png", ()), (".png", ("a",)), (".tif", ()), (".tif", ("a", "b")), (".zarr", ("a",))]
)
@pytest.mark.parametrize(
    ("size", "dtype"), [((64, 64), "uint8"), ((500, 700), "uint8"), ((2100, 2000), "uint8"), ((1500, 1500), "float32")]
)
def test_the_memory_of_drawing_is_known(
    size: tuple[int, int], dtype: str, suffix: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    """At least what NumPy allocates, and not far more."""
    # The writer of a format is imported when it is first used.
    write_heatmap(
        tmp_path / f"first{suffix}", ArrayReader(grey((16, 16)).astype(dtype)), found((16, 16), (0, 0)), classes
    )
    image, classified = ArrayReader(grey(size).astype(dtype)), found(size, (1, 1))
    tracemalloc.start()
    write_heatmap(tmp_path / f"map{suffix}", image, classified, classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Buffers that the libraries of a format keep from then on are no part of the drawing.
    assert (
        peak - (4 << 20)
        <= heatmap_bytes(Path(f"map{suffix}"), image.info, PATCH, len(classes))
        <= 2 * peak + (16 << 20)
    )
    assert kept_bytes(image.info, PATCH, 3) >= 3 * contribution_map(classified, "a").nbytes
