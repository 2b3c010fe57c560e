"""Reads the polygons of `fit segment` as GIS programs do, by GDAL, and compares them with the map.

    fit segment IMAGE --checkpoint RUN --out MAP.tif --polygons POLYGONS
    python -m benchmarks.polygons_in_gis MAP.tif POLYGONS [MAP.tif POLYGONS ...]

Needs geopandas, pyogrio and rasterio, and nothing of this project. Of each file it prints the number of polygons, the
EPSG codes of the file and the map, whether all polygons are valid (GEOS), how many cells of the map are others once
rasterio has drawn the polygons over it, and the area of all polygons over that of the map. Background has no polygons.
"""

from __future__ import annotations

import argparse
from typing import Any

NO_CLASS = 255


def class_numbers(description: str) -> dict[str, int]:
    """Return the numbers of the classes by name, from the description of a map."""
    pairs = description.removeprefix("classes: ").partition(";")[0].split(", ")
    return {name: int(number) for number, _, name in (pair.partition("=") for pair in pairs)}


def compare(map_path: str, polygons_path: str) -> list[Any]:
    """Return the figures of a file."""
    import geopandas
    import rasterio
    from rasterio import features
    from rasterio.transform import Affine

    found = geopandas.read_file(f"/vsigzip/{polygons_path}" if polygons_path.endswith(".gz") else polygons_path)
    with rasterio.open(map_path) as image:
        cells, place, crs = image.read(1), image.transform, image.crs
        numbers = class_numbers(image.tags()["TIFFTAG_IMAGEDESCRIPTION"])
    if crs is None and not polygons_path.endswith(".gpkg"):
        # Pixels with y downwards; a GeoPackage has y upwards.
        place = Affine.identity()
    elif crs is None:
        place = Affine.scale(1, -1)
    shapes = ((shape, numbers[name]) for shape, name in zip(found.geometry, found["class"], strict=True))
    drawn = features.rasterize(shapes, cells.shape, NO_CLASS, transform=place)
    area = float(found.area.sum()) / (abs(place.determinant) * cells.size)
    code = None if found.crs is None else found.crs.to_epsg()
    own = None if crs is None else crs.to_epsg()
    return [len(found), code, own, bool(found.is_valid.all()), int((drawn != cells).sum()), f"{area:.9f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a map, its polygons, and so on")
    files = parser.parse_args().files
    for map_path, polygons_path in zip(files[::2], files[1::2], strict=True):
        count, code, own, valid, others, area = compare(map_path, polygons_path)
        print(
            f"{polygons_path}: {count} polygons, EPSG {code} (map {own}), valid {valid}, {others} other cells, {area}"
        )


if __name__ == "__main__":
    main()
