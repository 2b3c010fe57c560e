"""Metadata of TIFF files: microns per pixel, missing values, references to other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.tiff.metadata import aperio_mpp, gdal_nodata, ome_mpp, ome_other_file, philips_mpp, ventana_mpp
from fitcli.images.window import Window
from tests.images.tiff.test_reader import picture

PER_CM = {"resolution": (20000, 20000), "resolutionunit": 3}
MPP: dict[str, tuple[dict[str, Any], float | None]] = {
    "centimetres": (PER_CM, 0.5),
    "inches": ({"resolution": (101600, 101600), "resolutionunit": 2}, 0.25),
    "no unit": ({"resolution": (20000, 20000), "resolutionunit": 1}, None),
    "for print": ({"resolution": (300, 300), "resolutionunit": 2}, None),
    "for a screen": ({"resolution": (28.3465, 28.3465), "resolutionunit": 3}, None),
    "for print, 600 dpi": ({"resolution": (600, 600), "resolutionunit": 2}, None),
    "the default of libvips": ({"resolution": (10, 10), "resolutionunit": 3}, None),
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


def test_what_fit_writes_is_read_back(tmp_path: Path) -> None:
    for mpp in (25400 / 300, 1000.0, 0.5):
        info = ImageInfo(height=20, width=30, channels=1, dtype=np.dtype("u1"), mpp=mpp)
        with create_image(tmp_path / "a.tif", info) as writer:
            writer.write(Window(0, 0, 20, 30), np.ones((20, 30, 1), np.uint8))
        with open_image(tmp_path / "a.tif") as image:
            assert image.info.mpp == pytest.approx(mpp, rel=1e-4)


SPACING = '<Attribute Name="DICOM_PIXEL_SPACING" Group="0x0028" PMSVR="IDoubleArray">{}</Attribute>'


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("&quot;0.000226891&quot; &quot;0.000226907&quot;", '"0.00045" "0.00045"'), 0.226907),
        (("'0.00045' '0.00045'", "'0.000227273' '0.000227273'"), 0.227273),
        (("", "x", "&quot;0&quot;"), None),
        ((), None),
    ],
)
def test_philips(texts: tuple[str, ...], expected: float | None) -> None:
    mpp = philips_mpp("<DataObject>" + "".join(SPACING.format(text) for text in texts))
    assert mpp == (None if expected is None else pytest.approx(expected))


def test_a_philips_file(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">' + SPACING.format(
        '"0.000227273" "0.000227273"'
    )
    options: dict[str, Any] = {"software": "Philips DP v1.0", "description": text + "</DataObject>", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tiff", picture(), photometric="rgb", tile=(64, 64), **options)
    with open_image(tmp_path / "a.tiff") as image:
        assert image.info.mpp == pytest.approx(0.227273)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<iScan Magnification="40" ScanRes="0.2325" UnitNumber="2"/>', 0.2325),
        ('<Metadata><iScan\n ScanRes = "0.465"></iScan></Metadata>', 0.465),
        ('<iScan Magnification="40"/>', None),
        ('<other ScanRes="0.25"/>', None),
        ('<iScan ScanRes="-1"/>', None),
        ("", None),
    ],
)
def test_ventana(tmp_path: Path, text: str, expected: float | None) -> None:
    tag = (700, 1, len(text), text.encode(), True)
    with tifffile.TiffWriter(tmp_path / "a.bif") as writer:
        writer.write(picture(), photometric="rgb", metadata=None)
        writer.write(picture(), photometric="rgb", metadata=None, extratags=[tag] if text else [])
    with tifffile.TiffFile(tmp_path / "a.bif") as file:
        assert ventana_mpp(file.pages) == expected


def test_keys_of_arcgis_are_cut_at_their_count(tmp_path: Path) -> None:
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)
    for more in ((), (0,) * 4, (0,) * 36):
        tags = [
            (33550, "d", 3, (10.0, 10.0, 0.0), True),
            (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 5.2e6, 0.0), True),
            (34735, "H", len(keys) + len(more), (*keys, *more), True),
        ]
        tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", metadata=None, extratags=tags)
        with open_image(tmp_path / "a.tif") as image:
            assert image.info.geo is not None
            assert image.info.geo.keys == keys
            assert image.info.geo.coordinate_system() == 32633


@pytest.mark.parametrize(("text", "expected"), [("-10000", None), ("256", None), ("0.5", None), ("255", 255)])
def test_nodata_that_no_pixel_can_have(tmp_path: Path, text: str, expected: int | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb", extratags=[(42113, 2, 0, text, True)])
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.nodata == expected


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
