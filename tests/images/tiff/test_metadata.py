"""Metadata of TIFF files: microns per pixel, missing values, references to other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tifffile

from fitcli.images.open import open_image
from fitcli.images.tiff.metadata import aperio_mpp, gdal_nodata, ome_mpp, ome_other_file
from tests.images.tiff.test_reader import picture

PER_CM = {"resolution": (20000, 20000), "resolutionunit": 3}
MPP: dict[str, tuple[dict[str, Any], float | None]] = {
    "centimetres": (PER_CM, 0.5),
    "inches": ({"resolution": (101600, 101600), "resolutionunit": 2}, 0.25),
    "no unit": ({"resolution": (20000, 20000), "resolutionunit": 1}, None),
    "for print": ({"resolution": (300, 300), "resolutionunit": 2}, None),
    "for a screen": ({"resolution": (28.3465, 28.3465), "resolutionunit": 3}, None),
    "nothing": ({}, None),
    "a map": ({**PER_CM, "extratags": [(33550, "d", 3, (1, 1, 0), True)]}, None),
    "ome": ({"ome": True, "metadata": {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}}, 0.25),
    "ome nanometres": ({"ome": True, "metadata": {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}}, 0.25),
    "ome before tags": ({"ome": True, "metadata": {"PhysicalSizeX": 2.0}, **PER_CM}, 2.0),
    "imagej": ({"imagej": True, "resolution": (4.0, 4.0), "metadata": {"unit": "um"}}, 0.25),
    "aperio": ({"metadata": None, "tile": (64, 64), "description": "Aperio Image|AppMag = 40|MPP = 0.2520"}, 0.252),
}


@pytest.mark.parametrize("name", MPP)
def test_microns_per_pixel(tmp_path: Path, name: str):
    options, expected = MPP[name]
    tifffile.imwrite(tmp_path / "image.tif", picture(), photometric="rgb", **options)
    with open_image(tmp_path / "image.tif") as reader:
        assert reader.info.mpp == (None if expected is None else pytest.approx(expected, rel=1e-4))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Aperio|AppMag = 20|MPP = 0.4990|Left = 3", 0.499),
        ("MPP=2.5e-1", 0.25),
        ("Aperio|AppMag = 20", None),
        ("COMPP = 3", None),
        ("MPP = 0", None),
        ("MPP = -1", None),
        ("MPP = 1.2.3", None),
        ("MPP = 1e999", None),
    ],
)
def test_aperio(text: str, expected: float | None):
    assert aperio_mpp(text) == expected


def ome(*images: str, more: str = "", uuid: str = "") -> str:
    """Return an OME-XML document; `images` are attributes of Pixels."""
    pixels = "".join(f"<Image><Pixels {image}>{more}</Pixels></Image>" for image in images)
    return f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}>{pixels}</OME>'


SIZE = 'SizeX="64" SizeY="48"'


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (ome(f'{SIZE} PhysicalSizeX="0.5"'), 0.5),
        (ome(f'{SIZE} PhysicalSizeX="500" PhysicalSizeXUnit="nm"'), 0.5),
        (ome('SizeX="8" SizeY="6" PhysicalSizeX="4"', f'{SIZE} PhysicalSizeX="0.5"'), 0.5),
        (ome('SizeX="8" SizeY="6" PhysicalSizeX="4"'), None),
        (ome(f'{SIZE} PhysicalSizeX="0.5" PhysicalSizeXUnit="pixel"'), None),
        (ome(f'{SIZE} PhysicalSizeX="half"'), None),
        (ome(SIZE), None),
        ("no XML", None),
    ],
)
def test_ome(xml: str, expected: float | None):
    assert ome_mpp(xml, 64, 48) == expected


OWN = ' UUID="urn:uuid:1"'


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (ome(SIZE), None),
        (ome(SIZE, more="<TiffData><UUID FileName='a.tif'>urn:uuid:1</UUID></TiffData>", uuid=OWN), None),
        (ome(SIZE, more="<TiffData><UUID FileName='old.tif'>urn:uuid:1</UUID></TiffData>", uuid=OWN), None),
        (ome(SIZE, more="<TiffData><UUID FileName='A.TIF'>urn:uuid:1</UUID></TiffData>"), None),
        (ome(SIZE, more="<TiffData><UUID FileName='b.tif'>urn:uuid:2</UUID></TiffData>", uuid=OWN), "b.tif"),
        (ome(SIZE, more="<TiffData><UUID FileName='b.tif'>urn:uuid:2</UUID></TiffData>"), "b.tif"),
        (ome(SIZE, more="<TiffData><UUID>urn:uuid:2</UUID></TiffData>", uuid=OWN), "another file"),
        (ome(SIZE, more="<BinaryOnly MetadataFile='all.companion.ome'/>"), "all.companion.ome"),
        ("no XML", None),
    ],
)
def test_other_files_that_ome_names(xml: str, expected: str | None):
    assert ome_other_file(xml, "a.tif") == expected


@pytest.mark.parametrize(("text", "expected"), [("-9999", -9999.0), (" 7 ", 7.0), ("1e3\0", 1000.0), ("none", None)])
def test_nodata(tmp_path: Path, text: str, expected: float | None):
    tifffile.imwrite(tmp_path / "image", picture(32, 32, 1)[:, :, 0], extratags=[(42113, "s", 0, text, True)])
    with tifffile.TiffFile(tmp_path / "image") as file:
        assert gdal_nodata(file.pages.first) == expected


def test_no_nodata(tmp_path: Path):
    tifffile.imwrite(tmp_path / "image", picture(32, 32, 1)[:, :, 0])
    with tifffile.TiffFile(tmp_path / "image") as file:
        assert gdal_nodata(file.pages.first) is None
