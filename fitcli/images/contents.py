"""Describes what a file holds: its images (series), their planes and channels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """An image in a file.

    Attributes:
        name: Its name in the file; "" without one.
        height, width: Size in pixels of its largest level.
        axes: Axes as stored; empty if the image is not there.
        focal_planes, time_points, pages: Numbers of planes along Z, T and axes without a meaning.
        channels: Number of channels of a plane, as they are stored.
        levels: Number of levels.
        channel_names, channel_colors: Name, and colour as "#RRGGBB", of each channel, "" where it has none; empty if
            none has one.
        magnification: Magnification of the objective; None if unknown.
        missing: Why the image cannot be read; "" if it can.
    """

    name: str = ""
    height: int = 0
    width: int = 0
    axes: str = ""
    focal_planes: int = 1
    time_points: int = 1
    pages: int = 1
    channels: int = 1
    levels: int = 1
    channel_names: tuple[str, ...] = ()
    channel_colors: tuple[str, ...] = ()
    magnification: float | None = None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """The images of a file.

    Attributes:
        series: All of them, in the order of their numbers.
        read: Number of the one that is read.
        description: Text that is stored with the image, such as the title of a heat map; "" without one.
        undecided: Whether commands refuse the file unless an image is chosen.
    """

    series: tuple[Series, ...] = ()
    read: int = 0
    description: str = ""
    undecided: bool = False
