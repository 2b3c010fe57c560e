"""Opens a map of `fit segment` and its polygons in QGIS, without a window, and draws them over the image.

    fit segment IMAGE --checkpoint RUN --out MAP.tif --polygons POLYGONS
    QT_QPA_PLATFORM=offscreen python -m benchmarks.polygons_in_qgis IMAGE MAP.tif POLYGONS
        [--picture FILE.png]

Needs the Python of QGIS (Debian: /usr/bin/python3 with python3-qgis) and nothing of this project. It prints whether
QGIS finds each layer valid, their coordinate systems, the number of polygons and of those that QGIS or GEOS finds
invalid, how far the extents of map and image differ, in pixels, how many colours the palette of the map has, and how
QGIS draws it. The picture has the outlines of the polygons over the image.
"""

from __future__ import annotations

import argparse
from typing import Any

OUTLINE = {"color": "0,0,0,0", "outline_color": "255,255,0", "outline_width": "0.5"}
WIDTH = 1024
"""Width of the picture, in pixels."""


def invalid_polygons(layer: Any) -> int:
    """Count the polygons that a rule of QGIS or of GEOS refuses."""
    from qgis.core import QgsGeometry

    rules = (QgsGeometry.ValidatorQgisInternal, QgsGeometry.ValidatorGeos)
    return sum(any(feature.geometry().validateGeometry(rule) for rule in rules) for feature in layer.getFeatures())


def extent_error(image: Any, layer: Any) -> float:
    """Return the greatest distance between the sides of two extents, in pixels of the image."""
    one, two = image.extent(), layer.extent()
    across, down = image.rasterUnitsPerPixelX(), image.rasterUnitsPerPixelY()
    pixels = {"xMinimum": across, "xMaximum": across, "yMinimum": down, "yMaximum": down}
    return float(max(abs(getattr(one, side)() - getattr(two, side)()) / pixel for side, pixel in pixels.items()))


def draw(image: Any, polygons: Any, path: str) -> None:
    """Draw the outlines of the polygons over the image."""
    from qgis.core import QgsFillSymbol, QgsMapRendererParallelJob, QgsMapSettings, QgsSingleSymbolRenderer
    from qgis.PyQt.QtCore import QSize

    polygons.setRenderer(QgsSingleSymbolRenderer(QgsFillSymbol.createSimple(OUTLINE)))
    settings = QgsMapSettings()
    settings.setLayers([polygons, image])
    settings.setDestinationCrs(image.crs())
    settings.setExtent(image.extent())
    settings.setOutputSize(QSize(WIDTH, round(WIDTH * image.height() / image.width())))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("map")
    parser.add_argument("polygons")
    parser.add_argument("--picture")
    given = parser.parse_args()
    from qgis.core import QgsApplication, QgsPalettedRasterRenderer, QgsRasterLayer, QgsVectorLayer

    application = QgsApplication([], False)
    application.initQgis()
    try:
        image, classes = QgsRasterLayer(given.image, "image"), QgsRasterLayer(given.map, "map")
        polygons = QgsVectorLayer(given.polygons, "polygons", "ogr")
        for name, layer in (("image", image), ("map", classes), ("polygons", polygons)):
            print(f"{name}: valid {layer.isValid()}, {layer.crs().authid() or 'no coordinate system'}")
        print(f"{polygons.featureCount()} polygons, {invalid_polygons(polygons)} invalid")
        print(f"extents: the map is {extent_error(image, classes):.6f} pixels away from the image")
        palette = QgsPalettedRasterRenderer.colorTableToClassData(classes.dataProvider().colorTable(1))
        print(f"{len(palette)} colours of the palette, drawn as {classes.renderer().type()}")
        if given.picture:
            draw(image, polygons, given.picture)
    finally:
        application.exitQgis()


if __name__ == "__main__":
    main()
