"""Knows formats of images that are not read, and the program that converts each: for messages, never for reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VIPS = "`vips tiffsave {name} {stem}.tif --tile --pyramid --bigtiff --compression jpeg`"
LOSSLESS_VIPS = VIPS.replace("jpeg", "deflate")
BIO_FORMATS = "`bioformats2raw {name} {stem}.zarr`, or `bfconvert {name} {stem}.ome.tif`"
GDAL = "`gdal_translate -of COG {name} {stem}.tif`"
"""Commands that convert a file. Slides hold 8-bit colours in JPEG already; other pictures may hold more bits."""

OPENSLIDE = "vips with OpenSlide"

SLIDE_DATA = "Slidedat.ini"
"""A folder with this file holds the pixels of the MIRAX slide beside it."""

START_BYTES = 512
"""Bytes of a file that are compared with `Foreign.starts`."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A format that is not read.

    Attributes:
        name: Its name.
        suffixes: Suffixes of its files.
        starts: (position, bytes) by any of which its content is recognised.
        convert: Command that converts a file, with `{name}` and `{stem}` in place of its name.
        program: The program that the command needs, if its name does not say it.
        disguised: Whether its files, or their beginning, look like an image of another format, such as a thumbnail.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: tuple[tuple[int, bytes], ...]
    convert: str
    program: str = ""
    disguised: bool = False

    def begins(self, start: bytes) -> bool:
        """Return whether a file that starts with these bytes has this format."""
        return any(start[at : at + len(mark)] == mark for at, mark in self.starts)

    def advice(self, path: Path) -> str:
        """Return the rest of a message about a file: what it is, and the command that converts it."""
        command = self.convert.format(name=path.name, stem=path.stem)
        needs = f" ({self.program})" if self.program else ""
        return f"is {self.name}, which fit does not read; convert it with {command}{needs}"


FORMATS = (
    Foreign("a MIRAX slide", (".mrxs",), (), VIPS, OPENSLIDE, disguised=True),
    Foreign("an Olympus VSI image", (".vsi",), (), BIO_FORMATS, disguised=True),
    Foreign("a Hamamatsu VMS slide", (".vms", ".vmu"), (), VIPS, OPENSLIDE),
    Foreign("a Sakura slide", (".svslide",), (), VIPS, OPENSLIDE),
    Foreign("a DICOM image", (".dcm", ".dicom"), ((128, b"DICM"),), LOSSLESS_VIPS, OPENSLIDE),
    Foreign("a Zeiss CZI image", (".czi",), ((0, b"ZISRAWFILE"),), BIO_FORMATS),
    Foreign("a Nikon ND2 image", (".nd2",), ((0, b"\xda\xce\xbe\x0a"),), BIO_FORMATS, disguised=True),
    Foreign("a Leica LIF image", (".lif", ".xlef", ".lof"), (), BIO_FORMATS),
    Foreign("an Imaris image", (".ims",), (), BIO_FORMATS),
    Foreign("an Olympus image", (".oib", ".oif", ".oir"), (), BIO_FORMATS),
    Foreign("a GDAL virtual mosaic (VRT)", (".vrt",), ((0, b"<VRTDataset"),), GDAL),
    Foreign("an ERDAS image", (".img", ".ige"), ((0, b"EHFA_HEADER_TAG"),), GDAL),
    Foreign("a Radiance image", (".rgbe", ".xyze"), ((0, b"#?RADIANCE"), (0, b"#?RGBE")), LOSSLESS_VIPS),
    Foreign("the header of an ENVI image", (".hdr", ".bil", ".bsq", ".bip"), ((0, b"ENVI"),), GDAL),
    Foreign("a NITF image", (".ntf", ".nitf", ".nsf"), ((0, b"NITF"), (0, b"NSIF")), GDAL),
    Foreign(
        "a netCDF file", (".nc", ".nc4", ".cdf"), ((0, b"CDF\1"), (0, b"CDF\2"), (0, b"CDF\5")), GDAL
    ),
    Foreign("an HDF file", (".hdf", ".he5"), ((0, b"\x0e\x03\x13\x01"),), GDAL),
    Foreign("a grid of ESRI", (".adf", ".flt"), (), GDAL),
    Foreign("an ECW or MrSID image", (".ecw", ".sid"), ((0, b"msid"),), GDAL),
    Foreign(
        "a JPEG XL image", (".jxl",), ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL \r\n\x87\n")), LOSSLESS_VIPS
    ),
    Foreign(
        "a HEIC image",
        (".heic", ".heif", ".hif"),
        tuple((4, b"ftyp" + brand) for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")),
        LOSSLESS_VIPS,
    ),
    Foreign("a FITS image", (".fits", ".fit", ".fts"), ((0, b"SIMPLE  ="),), LOSSLESS_VIPS),
    Foreign("a Photoshop image", (".psd", ".psb"), ((0, b"8BPS"),), LOSSLESS_VIPS, "vips with ImageMagick"),
    Foreign("a DPX image", (".dpx",), ((0, b"SDPX"), (0, b"XPDS")), LOSSLESS_VIPS, "vips with ImageMagick"),
    Foreign("an OpenEXR image", (".exr",), ((0, b"\x76\x2f\x31\x01"),), LOSSLESS_VIPS),
    Foreign("a JPEG XR image", (".jxr", ".wdp", ".hdp"), ((0, b"II\xbc"),), LOSSLESS_VIPS, "vips with ImageMagick"),
)  # fmt: skip
"""Formats that people have images in. Suffixes that other software uses for anything else are left out."""

BY_SUFFIX = {suffix: each for each in FORMATS for suffix in each.suffixes}
"""Formats by suffix."""

DISGUISED = frozenset(suffix for suffix, each in BY_SUFFIX.items() if each.disguised)
"""Suffixes of files whose content looks like another image: a slide that begins with its thumbnail."""


def foreign_by_name(path: Path) -> Foreign | None:
    """Return the format that the suffix of a file names; None if it names none of `FORMATS`."""
    return BY_SUFFIX.get(path.suffix.lower())


def disguised(path: Path) -> Foreign | None:
    """Return the format of a file of a suffix in `DISGUISED`; None for other files."""
    return foreign_by_name(path) if path.suffix.lower() in DISGUISED else None


def foreign_by_content(path: Path) -> Foreign | None:
    """Return the format of a file that no reader recognised, by its first bytes or else its suffix; None if unknown."""
    try:
        with path.open("rb", buffering=0) as file:
            start = file.read(START_BYTES)
    except OSError:
        start = b""
    return next((each for each in FORMATS if each.begins(start)), foreign_by_name(path))
