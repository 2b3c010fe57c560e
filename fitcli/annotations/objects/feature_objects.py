"""Reads the objects of GeoJSON and GeoPackage files: the box around every polygon, or points.

- A polygon of the class "Region" (also "Region*", "region 2") says that all of it is annotated. If there is one, what
  lies outside of all of them does not count.
- In polygons of a class whose name ends with `*`, such as QuPath's "Ignore*", nothing counts.
- Objects without a class are of the class "object" if the file has no other class. Otherwise they are an error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fitcli.annotations.objects.object_set import ObjectSet
from fitcli.annotations.polygon_collector import UNCLASSIFIED
from fitcli.annotations.polygon_file import read_features
from fitcli.annotations.polygon_labels import ONLY_KIND, is_ignored, is_region
from fitcli.errors import ImageError
from fitcli.files.wording import counted


def read_feature_objects(path: Path) -> ObjectSet:
    """Read a file.

    Raises:
        ImageError: The file cannot be read, or some of its objects have no class.
    """
    content = read_features(path, points=True)
    regions = np.array([is_region(name) for name in content.names], np.bool_)
    ignored = np.array([is_ignored(name) for name in content.names], np.bool_)
    kinds = [name for name in content.names if not (is_region(name) or is_ignored(name))]
    if UNCLASSIFIED in kinds and len(kinds) > 1:
        count = int(np.count_nonzero(content.classes == content.names.index(UNCLASSIFIED)))
        raise ImageError(
            path,
            f"has {counted(count, 'object')} without a class beside classified ones; give each a class, or one that "
            "ends with * to ignore it",
        )
    names = tuple(name or ONLY_KIND for name in content.names)
    of_region = np.flatnonzero(regions[content.classes]) if len(names) else np.empty(0, np.int64)
    of_ignored = np.flatnonzero(ignored[content.classes]) if len(names) else np.empty(0, np.int64)
    rest = np.setdiff1d(np.arange(len(content.classes)), np.concatenate([of_region, of_ignored]))
    return ObjectSet(
        outlines=content.polygons.take(rest),
        classes=content.classes[rest],
        names=names,
        ignored=content.polygons.take(of_ignored),
        regions=content.polygons.take(of_region) if len(of_region) else None,
        units="by crs",
        crs=content.crs,
        notes=content.notes,
    )
