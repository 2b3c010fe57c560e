"""Checks before training that leaving out background leaves something."""

from __future__ import annotations

from fitcli.data.dataset import Dataset, Sample, spread
from fitcli.data.place import draw_place
from fitcli.data.read_item import Reading
from fitcli.distributed.world import Axis
from fitcli.errors import DataError, ImageError
from fitcli.images.read_as import open_as
from fitcli.patches.background import almost_all_left_out

CHECKED_IMAGES = 8
"""Number of training images, evenly spaced, that are checked."""


def check_background(dataset: Dataset, reading: Reading) -> tuple[str, ...]:
    """Return a warning if hardly any group of most training images is kept; nothing if all groups are kept anyway.

    Args:
        dataset: The images.
        reading: Rules by which they are read.
    """
    if reading.rules.background is None:
        return ()
    samples = spread(dataset.train, CHECKED_IMAGES)
    empty = sum(_is_almost_empty(sample, number, reading) for number, sample in enumerate(samples))
    if 2 * empty <= len(samples):
        return ()
    return (
        f"--skip-background leaves out almost all of {empty} of {len(samples)} training images that were checked; "
        f"if they show something, give a --background-threshold below {reading.rules.background.threshold:g}",
    )


def _is_almost_empty(sample: Sample, number: int, reading: Reading) -> bool:
    try:
        with open_as(sample.path, reading.preprocessing.read_as) as image:
            if reading.preprocessing.mismatch(image.info):
                return False
            place = draw_place(image, reading.layout, reading.rules, 0, number, Axis(), sample.anchors)
            return almost_all_left_out(len(place.positions), place.grid.count)
    except (DataError, ImageError):
        # Training reports it.
        return False
