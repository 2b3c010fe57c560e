"""Images of a TIFF by number and name, and files whose images lie in several files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.open import create_image, open_image
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.window import Window

RNG = np.random.default_rng(0)
FIRST = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)
SECOND = RNG.integers(0, 60000, (60, 70)).astype(np.uint16)


def write(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(FIRST, photometric="rgb", metadata={"Name": "label, 2"})
        file.write(SECOND, photometric="minisblack", metadata={"Name": "scan", "PhysicalSizeX": 0.5})


def test_a_series_by_number_or_name(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    write(path)
    for series, expected in (("0", FIRST), ("label, 2", FIRST), ("1", SECOND[..., None]), (None, SECOND[..., None])):
        with open_image(path, choice=PlaneChoice(series=series)) as reader:
            assert_equal(read_all(reader), expected)
    with pytest.raises(UnreadableAs, match=r"has no series 2, only numbers 0 to 1 \(label, 2, scan\)"):
        open_image(path, choice=PlaneChoice(series="2"))


def test_pages_of_a_pyramid_are_no_series(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for step in (1, 2):
            file.write(SECOND[::step, ::step], tile=(16, 16), subfiletype=step - 1, metadata=None)
        file.write(FIRST, photometric="rgb", metadata=None)
    with open_image(tmp_path / "x.tif", choice=PlaneChoice(series="1")) as reader:
        assert_equal(read_all(reader), FIRST)
        contents = reader.describe_contents()
    assert ([series.levels for series in contents.series], contents.read) == ([2, 1], 1)


def test_planes_in_the_opened_file_of_several(tmp_path: Path) -> None:
    """Micro-Manager describes in each file the positions of all."""
    stack = RNG.integers(0, 60000, (4, 60, 70)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "0.ome.tif", stack[:2], ome=True, photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "0.ome.tif") as file:
        xml = file.ome_metadata
    start, end = xml.index("<TiffData"), xml.index("</Pixels>")
    uuid = '<UUID FileName="{}.ome.tif">urn:uuid:{}</UUID>'
    entries = "".join(
        f'<TiffData IFD="{z % 2}" FirstZ="{z}" PlaneCount="1">{uuid.format(z // 2, z // 2)}</TiffData>'
        for z in range(4)
    )
    xml = (xml[:start] + entries + xml[end:]).replace('SizeZ="2"', 'SizeZ="4"')
    xml = re.sub('UUID="[^"]*"', 'UUID="urn:uuid:0"', xml, count=1)
    tifffile.imwrite(
        tmp_path / "0.ome.tif", stack[:2], photometric="minisblack", metadata=None, description=xml.encode()
    )
    for z in (0, 1):
        with open_image(tmp_path / "0.ome.tif", choice=PlaneChoice(z=str(z))) as reader:
            assert_equal(read_all(reader), stack[z][..., None])
    for z in ("2", "max"):
        with pytest.raises(ImageError, match=r"takes pixels from another file \(1\.ome\.tif\); export the image"):
            open_image(tmp_path / "0.ome.tif", choice=PlaneChoice(z=z))


def test_magnification_of_the_objective(tmp_path: Path) -> None:
    description = "Aperio Image Library v11\n60x70 (16x16) J2K|AppMag = 40|MPP = 0.25"
    tifffile.imwrite(tmp_path / "x.svs", SECOND, tile=(16, 16), metadata=None, description=description)
    with open_image(tmp_path / "x.svs") as reader:
        assert reader.describe_contents().series[0].magnification == 40


def test_planes_that_are_stored_as_colours_are_refused(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (3, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", planarconfig="separate", metadata={"axes": "ZYX"})
    for z in ("1", "max"):
        with pytest.raises(ImageError, match=r"stores its pixels in an order that fit does not read \(ZYX\)"):
            open_image(tmp_path / "x.tif", choice=PlaneChoice(z=z))


def test_each_series_has_its_own_scale(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=True) as file:
        for number in (1, 2):
            scale = {"PhysicalSizeX": 0.5 * number, "PhysicalSizeXUnit": "µm", "Name": "same"}
            file.write(SECOND + number, photometric="minisblack", metadata=scale)
    for series, mpp in ((None, 0.5), ("0", 0.5), ("1", 1.0)):
        with open_image(tmp_path / "x.ome.tif", choice=PlaneChoice(series=series)) as reader:
            assert reader.info.mpp == pytest.approx(mpp)


def test_band_names_of_gdal(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    names = ("red <edge> & more", "", "nir")
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=30, width=40, count=3, dtype="uint16") as file:
        file.descriptions = names
        file.write(np.arange(3600, dtype="u2").reshape(3, 30, 40))
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.channel_names == names
        assert image.describe_contents().series[0].channel_names == names
        whole = read_all(image)
        info = image.info
    with open_image(tmp_path / "a.tif", choice=PlaneChoice(channels="nir,0")) as image:
        assert image.info.channel_names == ("nir", "red <edge> & more")
        assert_equal(read_all(image), whole[..., [2, 0]])
    with create_image(tmp_path / "copy.tif", info) as writer:
        writer.write(Window(0, 0, 30, 40), whole)
    with rasterio.open(tmp_path / "copy.tif") as file, open_image(tmp_path / "copy.tif") as image:
        assert tuple(name or "" for name in file.descriptions) == names
        assert image.info.channel_names == names


@pytest.mark.parametrize("text", ["<GDALMetadata", "DESCRIPTION", "<a>DESCRIPTION</a>", '<Item name="DESCRIPTION"/>'])
def test_band_names_that_are_damaged_are_none(tmp_path: Path, text: str) -> None:
    tags = [(42112, 2, 0, text, True)]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((30, 40), "u2"), extratags=tags, metadata=None)
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.channel_names == ()
