"""Creates files of polygons: chooses the format by the name, and the coordinates by the image."""

from __future__ import annotations

from pathlib import Path

from fitcli.annotations.feature_writer import FeatureWriter, NamedClasses
from fitcli.annotations.geojson_writer import GeoJsonWriter
from fitcli.annotations.geopackage_writer import GeoPackageWriter
from fitcli.annotations.placement import PIXELS, PIXELS_UPWARDS, Placement, world_placement
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo

FORMATS: dict[str, type[FeatureWriter]] = {
    ".geojson": GeoJsonWriter,
    ".geojson.gz": GeoJsonWriter,
    ".gpkg": GeoPackageWriter,
}
"""Writers by the end of the name, in lower case."""


def open_features(path: Path, table: NamedClasses, info: ImageInfo, pixels: bool = False) -> FeatureWriter:
    """Create a file of polygons in pixels of level 0.

    For an image of features, they are pixels of its slide. Give polygons that begin at the corner of the first place.

    An image with a georeference gives coordinates on the Earth, unless you ask for `pixels`. Without one, GeoJSON has
    y downwards, as QuPath, and GeoPackage has y upwards (0 at the upper border of the image, negative below it), as GIS
    programs show an image without a georeference.

    Args:
        path: Path of the file: .geojson, .geojson.gz or .gpkg.
        table: Names and colours of the classes.
        info: The image that the polygons belong to.
        pixels: Write pixels even if the image has a georeference.

    Raises:
        ImageError: The name has another end, the georeference is not affine, or the file cannot be written.
    """
    writer = next((kind for end, kind in FORMATS.items() if path.name.lower().endswith(end)), None)
    if writer is None:
        raise ImageError(path, f"polygons are written as {', '.join(FORMATS)}; choose such a name")
    return writer(path, table, placement_for(path, info, pixels, writer is GeoPackageWriter))


def placement_for(path: Path, info: ImageInfo, pixels: bool, upwards: bool = False) -> Placement:
    """Return the coordinates of a file: on the Earth if the image lies there, unless you ask for pixels.

    Raises:
        ImageError: The georeference is not affine.
    """
    if info.features is not None:
        sign = -1 if upwards else 1
        return Placement((1, 0, info.features.left, 0, sign, sign * info.features.top))
    if info.geo is None or pixels:
        return PIXELS_UPWARDS if upwards else PIXELS
    placement = world_placement(info.geo)
    if placement is None:
        reason = "the georeference of the image is no affine map (it has several tiepoints, or no area)"
        raise ImageError(path, f"{reason}; write the polygons in pixels")
    return placement
