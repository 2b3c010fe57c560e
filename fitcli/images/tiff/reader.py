"""Reads TIFF and BigTIFF: plain, pyramidal (SubIFDs or reduced pages), OME-TIFF, SVS, NDPI, ImageJ, GeoTIFF.

tifffile parses the structure; windows are then read by `chunks.py`. Of several images in a file, the largest is read.
The Orientation tag is ignored: pixels are returned as stored. Alpha is returned as a fourth channel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import MAX_CHANNELS, ChunkedReader, levels_of
from fitcli.images.colors import (
    Conversion,
    cmyk_to_rgb,
    colormap_to_palette,
    palette_to_rgb,
    white_is_zero_to_grey,
    ycbcr_to_rgb,
)
from fitcli.images.missing import nodata_value
from fitcli.images.tiff.chunks import JPEG, CompressedTiffGrid, Page, RawTiffGrid, TiffGrid, is_raw
from fitcli.images.tiff.masks import Masks, hidden_value, mask_grids
from fitcli.images.tiff.metadata import (
    FORMATS,
    aperio_mpp,
    check_description,
    gdal_nodata,
    georeference,
    ome_mpp,
    ome_other_file,
    philips_mpp,
    tag_mpp,
    ventana_mpp,
)
from fitcli.images.tiff.planes import check_planes
from fitcli.images.tiff.stream import StructureStream, TooMuchStructure
from fitcli.images.tiff.unread import check_form
from fitcli.images.window import Window

PHOTOMETRIC_TAG = 262
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
"""Code of the PhotometricInterpretation tag, and its values."""

FAX = (2, 3, 4)
"""Values of the Compression tag of codes for fax (CCITT)."""

WEBP, APERIO_JP2K_YCBCR, APERIO_JP2K_RGB, JPEG_XL = 50001, 33003, 33005, (50002, 52546)
DECODES_TO_RGB = JPEG | {WEBP, APERIO_JP2K_YCBCR, APERIO_JP2K_RGB, *JPEG_XL}
"""Values of the Compression tag whose decoders convert YCbCr to RGB themselves."""

MAX_BIF_PAGES = 32
"""Pages of a Ventana BIF in which its scale is looked for."""

MAX_LISTED_CHUNKS = 1 << 22
"""Largest number of chunks that the pages of a level may list together. Each takes 16 bytes."""

OTHER_AXES = {"T": "time points", "Z": "focal planes"}
"""Names of axes in messages."""

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # errors are reported as ImageError instead


class TiffReader(ChunkedReader):
    """Reads a TIFF file.

    Args:
        path: Path of the file.
        indices: Whether to return samples as stored, see `open_image`.

    Raises:
        ImageError: The file is damaged, truncated, not self-contained, or not supported.
    """

    def __init__(self, path: Path, indices: bool = False) -> None:
        self._indices = indices
        self._source = SourceFile(path)
        try:
            stream: Any = StructureStream(self._source)
            with _TiffFile(stream, name=path.name) as file:
                parsed = _parse(file, self._source, indices)
        except TooMuchStructure:
            raise ImageError(path, "describes far more than an image needs; it is damaged or forged") from None
        except ImageError:
            raise
        except Exception as error:  # tifffile raises errors of many types on damaged files
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ImageError(
                path, f"cannot be read as TIFF ({reason}); it is damaged or cut off, copy or export it again"
            ) from error
        super().__init__(path, parsed.info, parsed.grids, parsed.finish)
        self._masks = parsed.masks

    def read(self, window: Window, level: int = 0) -> Pixels:
        pixels = super().read(window, level)
        return pixels if self._masks is None else self._masks.hide(pixels, window, level)

    def close(self) -> None:
        super().close()
        self._source.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._indices)


class _TiffFile(tifffile.TiffFile):  # type: ignore[misc]  # tifffile has no types here
    """A file whose series never come from Micro-Manager metadata, which list any number of planes and other files."""

    def _series_mmstack(self) -> None:
        return None

    def _series_ndtiff(self) -> None:
        return None


@dataclass(frozen=True)
class _Parsed:
    info: ImageInfo
    grids: list[TiffGrid]
    finish: Conversion | None
    masks: Masks | None


def _parse(file: Any, source: SourceFile, indices: bool) -> _Parsed:
    check_description(file, source.path)
    check_planes(file, source.path)
    xml: str | None = file.ome_metadata
    other = ome_other_file(xml, source.path.name) if xml else None
    if other is not None:  # checked before tifffile parses the series, which would open the files named
        raise ImageError(
            source.path, f"takes pixels from another file ({other}); export the image to one self-contained file"
        )
    series = max(list(file.series), key=_area, default=None)
    if series is None or not _area(series):
        raise ImageError(source.path, "holds no image; copy or export it again")
    grids = [_grid(file, series, source)]
    base, keyframe = grids[0], series.keyframe
    for smaller in _smaller_series(file, series):
        grid = _grid(file, smaller, source)
        if (grid.channels, grid.dtype) == (base.channels, base.dtype) and grid.width < grids[-1].width:
            grids.append(grid)
    # The values of one channel may be indices or inverse; several are colours, which stay what they are.
    stored = indices and base.channels == 1
    finish, channels, dtype, color = (None, 1, base.dtype, False) if stored else _colors(keyframe, base)
    nodata = _nodata(keyframe, base.dtype) if finish is None else None
    grids, masks = _masked(file, source, grids, hidden_value(nodata, dtype, stored))
    info = ImageInfo(
        height=base.height,
        width=base.width,
        channels=channels,
        dtype=dtype,
        levels=levels_of(grids),
        chunk=base.declared_chunk,
        mpp=_mpp(file, keyframe, base),
        format=FORMATS.get(series.kind, "TIFF"),
        axes=series.axes,
        color=color,
        nodata=nodata if masks is None else masks.nodata,
        geo=georeference(keyframe),
        palette=_palette(keyframe) if stored else (),
    )
    return _Parsed(info, grids, finish, masks)


def _masked(
    file: Any, source: SourceFile, grids: list[TiffGrid], hidden: float | None
) -> tuple[list[TiffGrid], Masks | None]:
    """Return the levels that can be read, and their masks; without a mask of level 0, all levels and None."""
    masks = mask_grids(file, source, [(grid.height, grid.width) for grid in grids])
    if hidden is None or masks[0] is None:
        return grids, None
    both = [(grid, mask) for grid, mask in zip(grids, masks, strict=True) if mask is not None]
    return [grid for grid, _ in both], Masks(source.path, [mask for _, mask in both], hidden)


def _nodata(keyframe: Any, dtype: np.dtype[Any]) -> float | None:
    """Return the nodata value; None without one, or if no pixel can have it."""
    nodata = gdal_nodata(keyframe)
    return None if nodata_value(nodata, dtype) is None else nodata


def _area(series: Any) -> int:
    sizes = _sizes(series)
    return sizes.get("Y", 0) * sizes.get("X", 0)


def _sizes(series: Any) -> dict[str, int]:
    return dict(zip(series.axes, series.shape, strict=True))


def _smaller_series(file: Any, series: Any) -> list[Any]:
    """Return smaller levels, largest first: those tifffile recognises, else reduced pages of the same aspect ratio."""
    levels = list(series.levels[1:])
    if not levels and FORMATS.get(series.kind) is None:
        height, width = series.keyframe.imagelength, series.keyframe.imagewidth
        for other in file.series:
            page = other.keyframe
            ratio_y, ratio_x = height / page.imagelength, width / page.imagewidth
            # Rounding to whole pixels changes a side by less than one pixel.
            alike = abs(page.imagelength - height / ratio_x) <= 1 or abs(page.imagewidth - width / ratio_y) <= 1
            if other is not series and page.is_reduced and page.imagewidth < width and alike:
                levels += other.levels
    return sorted(levels, key=_area, reverse=True)


def _grid(file: Any, series: Any, source: SourceFile) -> TiffGrid:
    """Return the chunks of one level.

    Raises:
        ImageError: The level holds several images, or its axes or values are not supported.
    """
    keyframe, sizes = series.keyframe, _sizes(series)
    for axis, count in sizes.items():
        if axis not in "YXSC" and count > 1:
            what = OTHER_AXES.get(axis, "pages")
            raise ImageError(
                source.path, f"holds {count} {what} (axis {axis} of {series.axes}); export the one you want to a file"
            )
    check_form(keyframe, source)
    samples = int(keyframe.samplesperpixel)
    channels = sizes.get("C", 1) * sizes.get("S", 1)
    count, rest = divmod(channels, samples)
    expected = int(keyframe.imagelength), int(keyframe.imagewidth)
    if (sizes.get("Y"), sizes.get("X")) != expected or "YX" not in series.axes or rest or keyframe.imagedepth != 1:
        raise ImageError(source.path, f"stores its pixels in an order that fit does not read ({series.axes})")
    if series.dtype is None or series.dtype.kind not in "buif" or series.dtype.itemsize > 8:
        raise ImageError(source.path, f"holds {series.dtype} values; convert them to integers or floats")
    kind: Callable[..., TiffGrid] = RawTiffGrid if is_raw(keyframe) else CompressedTiffGrid
    return kind(source, keyframe, _pages(file, series, count, source))


def _pages(file: Any, series: Any, count: int, source: SourceFile) -> list[Page]:
    keyframe = series.keyframe
    listed = count * len(keyframe.dataoffsets)
    if count > MAX_CHANNELS or listed > MAX_LISTED_CHUNKS:
        raise ImageError(source.path, f"claims {count:,} pages of channels; fit reads at most {MAX_CHANNELS:,}")
    if count > 1 and (len(series) == 1 or (series.kind == "imagej" and count > len(file.pages))):
        return _virtual_pages(keyframe, count, source)
    pages: list[Page] = []
    for number in range(count):
        page = series[number]
        if page is None:
            raise ImageError(source.path, f"lacks page {number + 1} of {count}; copy or export it again")
        if page.parent is not file:  # never true, because tifffile gets no path
            raise ImageError(source.path, "takes pixels from another file; export the image to one self-contained file")
        tables = page.jpegtables if int(keyframe.compression) in JPEG else None
        pages.append(Page(page.dataoffsets, page.databytecounts, tables))
    return pages


def _virtual_pages(keyframe: Any, count: int, source: SourceFile) -> list[Page]:
    """Return the pages of an ImageJ stack that describes only its first page: the others follow it without a gap."""
    if not is_raw(keyframe):
        raise ImageError(source.path, f"describes only one of its {count} pages; export the image again")
    page_bytes = int(keyframe.nbytes)
    missing = count * page_bytes - source.size
    if missing > 0:
        raise ImageError(source.path, f"ends {missing} bytes before its pixels do; copy or export it again")
    first = np.asarray(keyframe.dataoffsets, np.int64)
    return [Page(list(first + page * page_bytes), keyframe.databytecounts, None) for page in range(count)]


def _palette(keyframe: Any) -> tuple[tuple[int, int, int], ...]:
    """Return red, green and blue by index; () without a palette."""
    colormap = keyframe.colormap
    if int(keyframe.photometric) != PALETTE or colormap is None or colormap.ndim != 2 or len(colormap) != 3:
        return ()
    return tuple((int(red), int(green), int(blue)) for red, green, blue in colormap_to_palette(colormap))


def _photometric(keyframe: Any) -> int:
    """Return the PhotometricInterpretation; without the tag, what the samples suggest."""
    if PHOTOMETRIC_TAG in keyframe.tags or int(keyframe.compression) in FAX:
        return int(keyframe.photometric)
    return RGB if int(keyframe.samplesperpixel) in (3, 4) else BLACK_IS_ZERO


def _colors(keyframe: Any, grid: TiffGrid) -> tuple[Conversion | None, int, np.dtype[Any], bool]:
    """Return (conversion of stored channels or None, channels and dtype after it, whether these begin with RGB)."""
    photometric, samples, dtype = _photometric(keyframe), int(keyframe.samplesperpixel), grid.dtype
    if photometric == PALETTE and grid.channels == 1 and keyframe.colormap is not None and dtype.kind == "u":
        if keyframe.colormap.ndim != 2 or len(keyframe.colormap) != 3 or not keyframe.colormap.size:
            raise ImageError(grid.source.path, "has a palette without colours; it is damaged")
        return palette_to_rgb(colormap_to_palette(keyframe.colormap)), 3, np.dtype(np.uint8), True
    if photometric == SEPARATED and grid.channels == 4 and dtype.kind == "u" and keyframe.tags.valueof(332, 1) == 1:
        return cmyk_to_rgb, 3, dtype, True
    if photometric == WHITE_IS_ZERO and dtype.kind == "u":  # not masks: writers store those as they are
        return white_is_zero_to_grey(2 ** int(keyframe.bitspersample) - 1), grid.channels, dtype, False
    together = int(keyframe.compression) in DECODES_TO_RGB and grid.interleaved
    if photometric == YCBCR and grid.channels == 3 and not together:
        if dtype != np.uint8:
            raise ImageError(grid.source.path, f"holds YCbCr colours of {dtype}; convert it to RGB")
        return ycbcr_to_rgb, 3, dtype, True
    return None, grid.channels, dtype, photometric in (RGB, YCBCR) and samples >= 3


def _mpp(file: Any, keyframe: Any, grid: TiffGrid) -> float | None:
    if file.ome_metadata:
        mpp = ome_mpp(file.ome_metadata, grid.width, grid.height)
        if mpp is not None:
            return mpp
    imagej: dict[str, Any] | None = file.imagej_metadata
    scanner = None
    if file.is_philips:
        scanner = philips_mpp(file.pages.first.description)
    elif file.is_bif:
        scanner = ventana_mpp(file.pages[number] for number in range(min(len(file.pages), MAX_BIF_PAGES)))
    return scanner or aperio_mpp(keyframe.description) or tag_mpp(keyframe, imagej)
