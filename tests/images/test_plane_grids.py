"""Chosen planes of files keep every promise of a reader, and equal the arrays that were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from support.reader_contract import Case, ReaderContract, assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice

HEIGHT, WIDTH = 75, 91
STACK = np.random.default_rng(0).integers(0, 60000, (2, 3, 4, HEIGHT, WIDTH)).astype(np.uint16)
"""Pixels [t z c y x]."""

NAMES = ["DAPI", "488", "a, b", "Cy5"]
"""Names of the channels."""


def ordered(axes: str, pixels: Pixels = STACK, of: str = "TZCYX") -> Pixels:
    """Return pixels in another order of axes; an axis left out is at 0."""
    kept = pixels[tuple(slice(None) if axis in axes else 0 for axis in of)]
    left = [axis for axis in of if axis in axes]
    return np.ascontiguousarray(kept.transpose([left.index(axis) for axis in axes]))


def ome(axes: str, **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        channels = {"Channel": {"Name": NAMES}} if "C" in axes else {}
        metadata = {"axes": axes, **channels}
        tifffile.imwrite(path, ordered(axes), ome=True, photometric="minisblack", metadata=metadata, **options)

    return write


def imagej(path: Path) -> None:
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TZCYX"})


def shaped(axes: str, **options: Any) -> Callable[[Path], None]:
    """Write pages whose axes have no names: (C, H, W) arrays as `tifffile.imwrite` writes them."""
    return lambda path: tifffile.imwrite(path, ordered(axes), photometric="minisblack", **options)


def colors(planar: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        axes = "ZYXC" if planar == "contig" else "ZCYX"
        pixels = ordered(axes, STACK[:, :, :3])
        named = {"axes": axes.replace("C", "S")}
        tifffile.imwrite(path, pixels, photometric="rgb", planarconfig=planar, metadata=named, tile=(32, 48))

    return write


def white_is_zero(path: Path) -> None:
    tifffile.imwrite(path, ordered("ZYX"), photometric="miniswhite", metadata={"axes": "ZYX"})


def array(axes: str, chunks: dict[str, int], **options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pixels = ordered(axes.upper())
        stored = zarr.create_array(
            path,
            shape=pixels.shape,
            dtype=pixels.dtype,
            chunks=[chunks.get(axis, 32) for axis in axes],
            dimension_names=list(axes),
            **options,
        )
        stored[...] = pixels

    return write


def image(path: Path, axes: str = "tczyx", **more: Any) -> None:
    """Write an OME-Zarr 0.5 image with two levels."""
    group = zarr.create_group(path, overwrite=True)
    for name, step in (("0", 1), ("1", 2)):
        pixels = ordered(axes.upper())[..., ::step, ::step]
        chunks = (1, 1, 2, 32, 32) if len(axes) == 5 else pixels.shape
        group.create_array(name, shape=pixels.shape, dtype=pixels.dtype, chunks=chunks)[...] = pixels
    described = [{"name": axis, "type": {"t": "time", "c": "channel"}.get(axis, "space")} for axis in axes]
    datasets = [
        {
            "path": name,
            "coordinateTransformations": [{"type": "scale", "scale": [1.0] * (len(axes) - 2) + [step, step]}],
        }
        for name, step in (("0", 1.0), ("1", 2.0))
    ]
    channels = [{"label": name, "color": "00FF00"} for name in NAMES]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"name": "picture", "axes": described, "datasets": datasets}],
        "omero": {"channels": channels},
        **more,
    }


def collection(path: Path) -> None:
    """Write the layout of bioformats2raw, of which series 1 is the image."""
    group = zarr.create_group(path)
    group.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for name in ("0", "1"):
        image(path / name, "tczyx" if name == "1" else "yx")


def plate(path: Path) -> None:
    """Write a plate of three wells, of which A/3 is missing."""
    wells = [{"path": f"A/{number}", "rowIndex": 0, "columnIndex": number - 1} for number in (1, 2, 3)]
    zarr.create_group(path).attrs["ome"] = {"version": "0.5", "plate": {"wells": wells}}
    for number in (1, 2):
        well = zarr.create_group(path / f"A/{number}")
        well.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}, {"path": "1"}]}}
        for field in ("0", "1"):
            image(path / f"A/{number}/{field}")


def plane(t: int, z: int, *channels: int) -> Pixels:
    """Return planes [height, width, channels]."""
    return np.ascontiguousarray(STACK[t, z, list(channels)].transpose(1, 2, 0))


def largest(t: int, *channels: int) -> Pixels:
    return STACK[t][:, list(channels)].max(0).transpose(1, 2, 0)


def mean(t: int, *channels: int) -> Pixels:
    values = STACK[t][:, list(channels)].astype(np.float64).mean(0).transpose(1, 2, 0)
    return np.floor(values + 0.5).astype(np.uint16)


def halves(pixels: Pixels) -> list[Pixels]:
    """Return the levels of a pyramid of `image`."""
    return [pixels, pixels[::2, ::2]]


Write = Callable[[Path], None]
TILED = {"tile": (32, 48), "compression": "deflate"}
EVERY = (0, 1, 2, 3)
CASES: dict[str, tuple[Write, dict[str, Any], list[Pixels]]] = {
    **{
        f"ome {axes}": (ome(axes), {"z": "2", "t": 1, "channels": "3,0"}, [plane(1, 2, 3, 0)])
        for axes in ("TZCYX", "TCZYX", "ZTCYX", "CTZYX", "ZCTYX", "CZTYX")
    },
    "ome tiled": (ome("TCZYX", **TILED), {"z": "0", "t": 0}, [plane(0, 0, *EVERY)]),
    "ome names": (ome("TCZYX", **TILED), {"z": "1", "t": 1, "channels": '"a, b",488,dapi'}, [plane(1, 1, 2, 1, 0)]),
    "ome maximum": (ome("ZTCYX", **TILED), {"z": "max", "t": 1}, [largest(1, *EVERY)]),
    "ome maximum of some": (ome("CTZYX"), {"z": "max", "t": 1, "channels": "3,0"}, [largest(1, 3, 0)]),
    "ome mean": (ome("TZCYX"), {"z": "mean", "t": 0, "channels": "Cy5"}, [mean(0, 3)]),
    "ome mean, big-endian": (ome("TZCYX", byteorder=">"), {"z": "mean", "t": 1}, [mean(1, *EVERY)]),
    "imagej": (imagej, {"z": "2", "t": 1, "channels": "1"}, [plane(1, 2, 1)]),
    "imagej maximum": (imagej, {"z": "max", "t": 0}, [largest(0, *EVERY)]),
    "pages as channels": (shaped("CYX"), {"channels": "all"}, [plane(0, 0, *EVERY)]),
    "pages as some channels": (shaped("CYX", **TILED), {"channels": "2,0"}, [plane(0, 0, 2, 0)]),
    "pages as planes": (shaped("ZYX", **TILED), {"z": "2"}, [plane(0, 2, 0)]),
    "pages as time": (shaped("TYX"), {"t": 1}, [plane(1, 0, 0)]),
    "mean of pages": (shaped("ZYX", **TILED), {"z": "mean"}, [mean(0, 0)]),
    "colours": (colors("contig"), {"z": "1", "channels": "2,1"}, [plane(0, 1, 2, 1)]),
    "maximum of colours": (colors("contig"), {"z": "max"}, [largest(0, 0, 1, 2)]),
    "planar colours": (colors("separate"), {"z": "1", "channels": "2"}, [plane(0, 1, 2)]),
    "mean of planar colours": (colors("separate"), {"z": "mean"}, [mean(0, 0, 1, 2)]),
    "white is zero": (white_is_zero, {"z": "max"}, [65535 - STACK[0, :, 0].min(0)[..., None]]),
    "zarr": (array("tczyx", {"t": 1, "c": 3, "z": 2}), {"z": "2", "t": 1, "channels": "3,1"}, [plane(1, 2, 3, 1)]),
    "zarr deep chunks": (array("tzcyx", {"t": 2, "c": 1, "z": 3}), {"z": "max", "t": 1}, [largest(1, *EVERY)]),
    "zarr mean": (array("ctzyx", {"t": 2, "c": 1, "z": 2}), {"z": "mean", "t": 1, "channels": "2"}, [mean(1, 2)]),
    "zarr shards": (
        array("tczyx", {"t": 1, "c": 1, "z": 1}, shards=(2, 4, 3, 96, 96)),
        {"z": "1", "t": 0},
        [plane(0, 1, *EVERY)],
    ),
    "zarr pages": (array("zyx", {"z": 2}), {"z": "1"}, [plane(0, 1, 0)]),
    "ome-zarr": (image, {"z": "mean", "t": 1, "channels": "488"}, halves(mean(1, 1))),
    "series": (collection, {"series": "1", "z": "2", "t": 0}, halves(plane(0, 2, *EVERY))),
    "plate": (plate, {"series": "A/2/1", "z": "max", "t": 0}, halves(largest(0, *EVERY))),
}


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    write, choice, levels = CASES[request.param]
    path = tmp_path_factory.mktemp("images") / "image"
    write(path)
    return Case(path, levels, PlaneChoice(**choice))


@pytest.mark.walk(8)
class TestChosenPlanes(ReaderContract):
    pass


@pytest.mark.parametrize("projection", ["max", "mean"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "u1"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_missing_pixels_are_left_out_of_a_projection(
    tmp_path: Path, projection: str, dtype: str, compression: str | None
) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(2, 100, (5, 64, 64)).astype(dtype)
    pixels[rng.random(pixels.shape) < 0.4] = 1
    pixels[:, :3] = 1  # missing in every plane
    if pixels.dtype.kind == "f":
        pixels[1, 20:40] = np.nan
        pixels[2, 30:50] = np.inf
    options: dict[str, Any] = {"tile": (32, 32), "compression": compression, "metadata": {"axes": "ZYX"}}
    tags = [(42113, "s", 0, "1", True)]
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="minisblack", extratags=tags, **options)
    values = pixels.astype(np.float64)
    present = np.isfinite(values) & (values != 1)
    masked = np.ma.masked_array(values, ~present)
    projected = masked.max(0) if projection == "max" else masked.mean(0)
    if pixels.dtype.kind != "f":
        projected = np.floor(projected + 0.5)
    with open_image(tmp_path / "x.tif", choice=PlaneChoice(z=projection)) as reader:
        assert reader.info.nodata == 1
        assert_equal(read_all(reader)[:, :, 0], projected.filled(1).astype(dtype))


def test_a_stack_with_large_chunks_is_not_projected(tmp_path: Path) -> None:
    pixels = np.zeros((2, 4096, 4096), np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, compression="deflate", rowsperstrip=4096, metadata={"axes": "ZYX"})
    with pytest.raises(ImageError, match=r"chunks of 4096 x 4096 pixels, too large for --z max; convert it"):
        open_image(tmp_path / "x.tif", choice=PlaneChoice(z="max"))
    with open_image(tmp_path / "x.tif", choice=PlaneChoice(z="1")) as reader:
        assert reader.info.size == (4096, 4096)


def test_a_palette_has_no_projection(tmp_path: Path) -> None:
    colormap = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
    pixels = np.arange(3 * 32 * 32).reshape(3, 32, 32).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="palette", colormap=colormap, metadata={"axes": "ZYX"})
    with pytest.raises(ImageError, match=r"stores colours that have no mean; choose a focal plane with --z N"):
        open_image(tmp_path / "x.tif", choice=PlaneChoice(z="mean"))
    with open_image(tmp_path / "x.tif", choice=PlaneChoice(z="2")) as reader:
        assert_equal(read_all(reader), (colormap[:, pixels[2]] >> 8).astype(np.uint8).transpose(1, 2, 0))


def test_projections_of_forged_stacks_are_refused(tmp_path: Path) -> None:
    array("zyx", {"z": 1})(tmp_path / "x.zarr")
    document = json.loads((tmp_path / "x.zarr" / "zarr.json").read_text())
    document["shape"][0] = 10**12
    (tmp_path / "x.zarr" / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(ImageError, match=r"holds 1,000,000,000,000 focal planes; fit projects at most 65,536"):
        open_image(tmp_path / "x.zarr", choice=PlaneChoice(z="max"))
    with open_image(tmp_path / "x.zarr", choice=PlaneChoice(z="1")) as reader:
        assert_equal(read_all(reader), plane(0, 1, 0))
