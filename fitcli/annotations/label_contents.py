"""Tells which classes occur in the labels of images, so that folds of a data set can have their share of each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fitcli.annotations.label_counts import count_label_image
from fitcli.annotations.labels import has_polygons, label_file
from fitcli.annotations.objects.object_file import read_objects
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.annotations.polygon_labels import polygon_names
from fitcli.errors import FitError
from fitcli.images.read_as import AS_STORED


def label_contents(samples: Sequence[tuple[Path, Path | ObjectSource]]) -> list[frozenset[str]]:
    """Return the classes that occur in the labels of each image, by the names or values that the files give them.

    Of large label images a part is read. Labels that cannot be read have none: the survey of the labels, which comes
    later, says what is wrong with them.
    """
    with ThreadPoolExecutor(4, "labels") as pool:
        return list(pool.map(_contents, samples))


def _contents(sample: tuple[Path, Path | ObjectSource]) -> frozenset[str]:
    image, labels = sample
    try:
        if isinstance(labels, ObjectSource):
            return frozenset(read_objects(labels).counts())
        if has_polygons(label_file(labels)):
            return frozenset(polygon_names(labels))
        return frozenset(map(str, count_label_image(image, labels, AS_STORED).pixels))
    except (FitError, OSError):
        return frozenset()
