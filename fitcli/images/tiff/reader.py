"""Reads TIFF and BigTIFF: plain, pyramidal (SubIFDs or reduced pages), OME-TIFF, SVS, NDPI, ImageJ, GeoTIFF.

tifffile parses the structure; windows are then read by `chunks.py`. Of several images in a file, the largest is read
unless another is chosen; `series.py` finds them, and the planes of each.
The Orientation tag is ignored: pixels are returned as stored. Alpha is returned as a fourth channel.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tifffile

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import MAX_CHANNELS, ChunkedReader, ChunkGrid, levels_of
from fitcli.images.colors import (
    Conversion,
    cmyk_to_rgb,
    colormap_to_palette,
    palette_to_rgb,
    white_is_zero_to_grey,
    ycbcr_to_rgb,
)
from fitcli.images.contents import Contents
from fitcli.images.missing import nodata_value
from fitcli.images.plane_axes import ChosenPlanes, choose_planes, chosen_channels, picked_names
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice
from fitcli.images.plane_grids import PagedStack, Picked, ProjectedGrid, subset_of
from fitcli.images.tiff.chunks import JPEG, CompressedTiffGrid, Page, RawTiffGrid, TiffGrid, is_raw
from fitcli.images.tiff.masks import Masks, hidden_value, mask_grids
from fitcli.images.tiff.metadata import (
    FORMATS,
    aperio_mpp,
    check_description,
    gdal_nodata,
    georeference,
    ome_mpp,
    philips_mpp,
    tag_mpp,
    ventana_mpp,
)
from fitcli.images.tiff.planes import check_planes
from fitcli.images.tiff.series import (
    TiffImage,
    chosen_image,
    describe_image,
    image_description,
    image_xml,
    missing_page,
    refuse_companion,
    tiff_images,
)
from fitcli.images.tiff.stream import StructureStream, TooMuchStructure
from fitcli.images.tiff.unread import check_form
from fitcli.images.unsupported import advice_for
from fitcli.images.window import Window

PHOTOMETRIC_TAG = 262
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, YCBCR = 0, 1, 2, 3, 5, 6
"""Code of the PhotometricInterpretation tag, and its values."""

FAX = (2, 3, 4)
"""Values of the Compression tag of codes for fax (CCITT)."""

T = TypeVar("T")

WEBP, APERIO_JP2K_YCBCR, APERIO_JP2K_RGB, JPEG_XL = 50001, 33003, 33005, (50002, 52546)
DECODES_TO_RGB = JPEG | {WEBP, APERIO_JP2K_YCBCR, APERIO_JP2K_RGB, *JPEG_XL}
"""Values of the Compression tag whose decoders convert YCbCr to RGB themselves."""

MAX_BIF_PAGES = 32
"""Pages of a Ventana BIF in which its scale is looked for."""

MAX_LISTED_CHUNKS = 1 << 22
"""Largest number of chunks that the pages of a level may list together. Each takes 16 bytes."""

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # errors are reported as ImageError instead


class TiffReader(ChunkedReader):
    """Reads a TIFF file.

    Args:
        path: Path of the file.
        indices: Whether to return samples as stored, see `open_image`.
        choice: Image and planes that are read.
        lenient: Whether to take the first plane where nothing was chosen.

    Raises:
        ImageError: The file is damaged, truncated, not self-contained, or not supported.
    """

    def __init__(
        self, path: Path, indices: bool = False, choice: PlaneChoice = EVERYTHING, lenient: bool = False
    ) -> None:
        self._arguments = indices, choice, lenient
        self._source = SourceFile(path)
        parsed = self._with_structure(lambda file: _parse(file, self._source, indices, choice, lenient))
        super().__init__(path, parsed.info, parsed.grids, parsed.finish)
        self.choice, self._masks = choice, parsed.masks

    def read(self, window: Window, level: int = 0) -> Pixels:
        pixels = super().read(window, level)
        return pixels if self._masks is None else self._masks.hide(pixels, window, level)

    def describe_contents(self) -> Contents:
        return self._with_structure(lambda file: _contents(file, self._arguments[1], self._source.path))

    def close(self) -> None:
        super().close()
        self._source.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, *self._arguments)

    def _with_structure(self, use: Callable[[Any], T]) -> T:
        """Return what a function makes of the file as tifffile parses it."""
        path = self._source.path
        try:
            stream: Any = StructureStream(self._source)
            with _TiffFile(stream, name=path.name) as file:
                return use(file)
        except TooMuchStructure:
            raise ImageError(path, "describes far more than an image needs; it is damaged or forged") from None
        except ImageError:
            raise
        except Exception as error:  # tifffile raises errors of many types on damaged files
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            advice = advice_for(error, "it is damaged or cut off, copy or export it again")
            raise ImageError(path, f"cannot be read as TIFF ({reason}); {advice}") from error


class _TiffFile(tifffile.TiffFile):  # type: ignore[misc]  # tifffile has no types here
    """A file whose series never come from Micro-Manager metadata, which list any number of planes and other files."""

    def _series_mmstack(self) -> None:
        return None

    def _series_ndtiff(self) -> None:
        return None


@dataclass(frozen=True)
class _Parsed:
    info: ImageInfo
    grids: Sequence[ChunkGrid]
    finish: Conversion | None
    masks: Masks | None


def _parse(file: Any, source: SourceFile, indices: bool, choice: PlaneChoice, lenient: bool) -> _Parsed:
    check_description(file, source.path)
    check_planes(file, source.path)
    refuse_companion(file, source.path)
    images = tiff_images(file)
    image = chosen_image(images, choice, source.path)
    series, keyframe = image.series, image.series.keyframe
    # Before the advice to choose planes, which would not help.
    _check_readable(image, series, source)
    planes = choose_planes(image.axes, image.sizes, choice, source.path, lenient)
    focal_planes = planes.focal_planes
    stored_grids = [_grid(file, image, level, planes, source) for level in (series, *image.smaller)]
    base = stored_grids[0]
    grids = [base]
    for grid in stored_grids[1:]:
        if (grid.channels, grid.dtype) == (base.channels, base.dtype) and grid.width < grids[-1].width:
            grids.append(grid)
    # The values of one channel may be indices or inverse; several are colours, which stay what they are.
    stored = indices and base.channels == focal_planes
    finish, channels, dtype, color = (
        (None, 1, base.dtype, False) if stored else _colors(keyframe, base, base.channels // focal_planes)
    )
    nodata, masks = _nodata(keyframe, base.dtype) if finish is None else None, None
    # Nothing says which plane of several a mask belongs to.
    if not planes.places and planes.projection is None:
        grids, masks = _masked(file, source, grids, hidden_value(nodata, dtype, stored))
    shown: Sequence[ChunkGrid] = grids
    if planes.projection is not None:
        shown = _projections(grids, planes, nodata, finish, _photometric(keyframe), source.path)
        finish = None
    # Colours that are converted are other channels than those that the file names.
    described = describe_image(file, image).channel_names
    names = picked_names(described, range(channels)) if len(described) == channels else ()
    # Bands have names or a place on the Earth; what lies beside a grey value or a colour is else taken for alpha.
    alpha = channels in (2, 4) and base.interleaved and image.page_count == 1 and not names
    alpha = alpha and georeference(keyframe) is None and (color or channels == 2)
    if (numbers := chosen_channels(channels, names, choice, source.path)) is not None:
        shown, finish = _with_channels(shown, numbers, finish)
        color, channels, alpha = color and numbers[:3] == [0, 1, 2], len(numbers), False
        names = picked_names(names, numbers)
    info = ImageInfo(
        height=base.height,
        width=base.width,
        channels=channels,
        dtype=dtype,
        levels=levels_of(grids),
        chunk=base.declared_chunk,
        mpp=_mpp(file, image, base),
        format=FORMATS.get(series.kind, "TIFF"),
        axes=series.axes,
        color=color,
        alpha=alpha,
        nodata=nodata if masks is None else masks.nodata,
        geo=georeference(keyframe),
        channel_names=names,
        palette=_palette(keyframe) if stored else (),
    )
    return _Parsed(info, shown, finish, masks)


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


def _contents(file: Any, choice: PlaneChoice, path: Path) -> Contents:
    images = tiff_images(file)
    described = tuple(describe_image(file, image) for image in images)
    read = chosen_image(images, choice, path)
    return Contents(described, images.index(read), image_description(file, read))


def _projections(
    grids: Sequence[TiffGrid],
    planes: ChosenPlanes,
    nodata: float | None,
    finish: Conversion | None,
    photometric: int,
    path: Path,
) -> list[ProjectedGrid]:
    assert planes.projection is not None
    if finish is not None and photometric != WHITE_IS_ZERO:
        raise UnreadableAs(path, f"stores colours that have no {planes.projection}; choose a focal plane with --z N")
    stacks = [PagedStack(grid, planes.focal_planes) for grid in grids]
    return [ProjectedGrid(stack, planes.projection, nodata, path, finish) for stack in stacks]


def _with_channels(
    grids: Sequence[ChunkGrid], numbers: list[int], finish: Conversion | None
) -> tuple[Sequence[ChunkGrid], Conversion]:
    """Return the chunks that hold some channels, and the conversion that picks these."""
    if finish is not None:
        return grids, Picked(tuple(numbers), finish)
    subsets = [subset_of(grid, numbers) for grid in grids]
    return [grid for grid, _ in subsets], Picked(tuple(subsets[0][1]))


def _check_readable(image: TiffImage, series: Any, source: SourceFile) -> None:
    """Look at what no choice of planes changes.

    Raises:
        ImageError: The form, the axes or the values of a level are not supported.
    """
    keyframe = series.keyframe
    lengths = dict(zip(series.axes, series.shape, strict=True))
    check_form(keyframe, source)
    expected = int(keyframe.imagelength), int(keyframe.imagewidth)
    samples = math.prod(size for axis, size in zip(image.axes, image.sizes, strict=True) if axis not in "YX")
    unusual = "YX" not in series.axes or (lengths.get("Y"), lengths.get("X")) != expected
    # Planes that are stored as samples of a pixel are not told apart here.
    unusual = unusual or any(axis not in "CS" for axis in image.sample_axes)
    if unusual or keyframe.imagedepth != 1 or samples != image.page_count * int(keyframe.samplesperpixel):
        raise ImageError(
            source.path, f"stores its pixels in an order that fit does not read ({series.axes}); write it page by page"
        )
    if series.dtype is None or series.dtype.kind not in "buif" or series.dtype.itemsize > 8:
        raise ImageError(source.path, f"holds {series.dtype} values; convert them to integers or floats")


def _grid(file: Any, image: TiffImage, series: Any, planes: ChosenPlanes, source: SourceFile) -> TiffGrid:
    """Return the chunks of one level: those of all channels, for each focal plane if a projection was chosen.

    Raises:
        ImageError: The axes or the values of the level are not supported, or it lacks a page.
    """
    _check_readable(image, series, source)
    keyframe = series.keyframe
    kind: Callable[..., TiffGrid] = RawTiffGrid if is_raw(keyframe) else CompressedTiffGrid
    most = min(MAX_CHANNELS, MAX_LISTED_CHUNKS // max(len(keyframe.dataoffsets), 1))
    numbers = image.page_numbers(planes, most)
    if isinstance(numbers, int):
        raise ImageError(source.path, f"claims {numbers:,} pages of channels; fit reads at most {most:,}")
    return kind(source, keyframe, _pages(file, series, numbers, image.page_count, source))


def _pages(file: Any, series: Any, numbers: Sequence[int], total: int, source: SourceFile) -> list[Page]:
    keyframe = series.keyframe
    if total > 1 and (len(series) == 1 or (series.kind == "imagej" and total > len(file.pages))):
        return _virtual_pages(keyframe, numbers, total, source)
    pages: list[Page] = []
    for number in numbers:
        page = series[number] if number < len(series) else None
        if page is None or page.parent is not file:
            raise ImageError(source.path, missing_page(file, number, total, source.path.name))
        tables = page.jpegtables if int(keyframe.compression) in JPEG else None
        pages.append(Page(page.dataoffsets, page.databytecounts, tables))
    return pages


def _virtual_pages(keyframe: Any, numbers: Sequence[int], total: int, source: SourceFile) -> list[Page]:
    """Return pages of an ImageJ stack that describes only its first page: the others follow it without a gap."""
    if not is_raw(keyframe):
        raise ImageError(source.path, f"describes only one of its {total} pages; export the image again")
    page_bytes = int(keyframe.nbytes)
    missing = total * page_bytes - source.size
    if missing > 0:
        raise ImageError(source.path, f"ends {missing} bytes before its pixels do; copy or export it again")
    first = np.asarray(keyframe.dataoffsets, np.int64)
    return [Page(list(first + page * page_bytes), keyframe.databytecounts, None) for page in numbers]


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


def _colors(keyframe: Any, grid: TiffGrid, channels: int) -> tuple[Conversion | None, int, np.dtype[Any], bool]:
    """Return (conversion of stored channels or None, channels and dtype after it, whether these begin with RGB)."""
    photometric, samples, dtype = _photometric(keyframe), int(keyframe.samplesperpixel), grid.dtype
    if photometric == PALETTE and channels == 1 and keyframe.colormap is not None and dtype.kind == "u":
        if keyframe.colormap.ndim != 2 or len(keyframe.colormap) != 3 or not keyframe.colormap.size:
            raise ImageError(grid.source.path, "has a palette without colours; it is damaged")
        return palette_to_rgb(colormap_to_palette(keyframe.colormap)), 3, np.dtype(np.uint8), True
    if photometric == SEPARATED and channels == 4 and dtype.kind == "u" and keyframe.tags.valueof(332, 1) == 1:
        return cmyk_to_rgb, 3, dtype, True
    if photometric == WHITE_IS_ZERO and dtype.kind == "u":  # not masks: writers store those as they are
        return white_is_zero_to_grey(2 ** int(keyframe.bitspersample) - 1), channels, dtype, False
    together = int(keyframe.compression) in DECODES_TO_RGB and grid.interleaved
    if photometric == YCBCR and channels == 3 and not together:
        if dtype != np.uint8:
            raise ImageError(grid.source.path, f"holds YCbCr colours of {dtype}; convert it to RGB")
        return ycbcr_to_rgb, 3, dtype, True
    return None, channels, dtype, photometric in (RGB, YCBCR) and samples >= 3


def _mpp(file: Any, image: TiffImage, grid: TiffGrid) -> float | None:
    keyframe = image.series.keyframe
    if file.ome_metadata:
        mpp = ome_mpp(image_xml(file, image) or file.ome_metadata, grid.width, grid.height)
        if mpp is not None:
            return mpp
    imagej: dict[str, Any] | None = file.imagej_metadata
    scanner = None
    if file.is_philips:
        scanner = philips_mpp(file.pages.first.description)
    elif file.is_bif:
        scanner = ventana_mpp(file.pages[number] for number in range(min(len(file.pages), MAX_BIF_PAGES)))
    return scanner or aperio_mpp(keyframe.description) or tag_mpp(keyframe, imagej)
