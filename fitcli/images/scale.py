"""Compares the scales of images, in microns per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fitcli.files.wording import counted

TOLERANCE = 1.1
"""Greatest ratio of two scales that count as the same: microscopes of one kind differ by some percent."""

NAMED = 4
"""Number of scales to name."""


def same_scale(one: float, other: float) -> bool:
    """Return whether two scales differ by no more than a tenth."""
    return max(one, other) <= TOLERANCE * min(one, other)


def common_scale(scales: Sequence[float | None]) -> float | None:
    """Return the median of the known scales of images; None if none is known, or if they differ."""
    known = [scale for scale in scales if scale is not None]
    return median(known) if known and same_scale(min(known), max(known)) else None


def scale_text(scales: Sequence[float | None]) -> str:
    """Return one line on the scales of images."""
    unknown = sum(scale is None for scale in scales)
    if unknown == len(scales):
        return "scale: unknown"
    do = "does" if unknown == 1 else "do"
    missing = f" ({unknown} of {counted(len(scales), 'image')} {do} not say)" if unknown else ""
    return f"scale: {_groups_text(scales)} microns per pixel{missing}"


def warn_of_mixed_scales(scales: Sequence[float | None]) -> str:
    """Return a warning of images of different scales; "" if there is at most one scale."""
    groups = _groups(scales)
    if len(groups) < 2:
        return ""
    return (
        f"the images differ in scale: {_groups_text(scales)} microns per pixel, so the same thing has several sizes in "
        f"pixels; --mpp {max(groups):g} reads all of them at one scale"
    )


def _groups_text(scales: Sequence[float | None]) -> str:
    groups = _groups(scales)
    if len(groups) == 1:
        return f"{next(iter(groups)):g}"
    if len(groups) > NAMED:
        return f"{min(groups):g} to {max(groups):g}"
    return ", ".join(f"{scale:g} ({counted(count, 'image')})" for scale, count in groups.items())


def _groups(scales: Sequence[float | None]) -> dict[float, int]:
    """Return the number of images by scale, from fine to coarse; scales within a tenth of the finest are one."""
    groups: list[list[float]] = []
    for scale in sorted(scale for scale in scales if scale is not None):
        if groups and same_scale(groups[-1][0], scale):
            groups[-1].append(scale)
        else:
            groups.append([scale])
    return {median(members): len(members) for members in groups}
