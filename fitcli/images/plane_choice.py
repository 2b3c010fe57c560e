"""What a user chooses of a file that holds several images or planes."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from fitcli.errors import FitError
from fitcli.files.path_choice import choice_text

PROJECTIONS = ("max", "mean")
"""Values of `--z` that stand for all focal planes together."""

ALL_CHANNELS = "all"
"""Value of `--channels` that takes each page as a channel."""

LARGEST_NUMBER = 10**9
"""Largest number of a plane."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaneChoice:
    """The image and the planes that are read of a file. All numbers begin at 0.

    Attributes:
        series: Number or name of an image in the file; None for the largest.
        z: Number of a focal plane, "max" or "mean"; None if there is only one.
        t: Number of a time point; None if there is only one.
        channels: Numbers or names of channels, separated by commas, or "all"; None for all channels.

    Raises:
        FitError: A value is impossible.
    """

    series: str | None = None
    z: str | None = None
    t: int | None = None
    channels: str | None = None

    def __post_init__(self) -> None:
        for name in ("series", "z", "channels"):
            if not isinstance(getattr(self, name), str | None):
                raise FitError(f"--{name} must be text, not {getattr(self, name)!r:.80}")
        if self.series is not None and not self.series.strip():
            raise FitError("--series must be a number or a name, not empty")
        if self.z is not None and self.z not in PROJECTIONS and _number(self.z) is None:
            raise FitError(f"--z must be a number of at least 0, max or mean, not {self.z}")
        if self.t is not None and not (type(self.t) is int and 0 <= self.t <= LARGEST_NUMBER):
            raise FitError(f"--t must be a number of at least 0, not {self.t}")
        if self.channels is not None:
            _entries(self.channels)

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) is not None for each in fields(self))

    @property
    def plane(self) -> int | None:
        """Number of the focal plane; None without one, and for a projection."""
        return None if self.z is None else _number(self.z)

    @property
    def projection(self) -> str | None:
        """ "max" or "mean"; None without a projection."""
        return self.z if self.z in PROJECTIONS else None

    def series_number(self, names: Sequence[str]) -> int | None:
        """Return the number of the chosen series, given the names of all; None if there is no such series."""
        assert self.series is not None
        return _find(self.series.strip(), names)

    def channel_numbers(self, count: int, names: Sequence[str]) -> list[int] | str | None:
        """Return the chosen channels; None for all; or the text of one that does not exist.

        Args:
            count: Number of channels.
            names: Their names; fewer if some have none.
        """
        if self.channels is None or self.channels.strip().lower() == ALL_CHANNELS:
            return None
        padded = [*names[:count], *([""] * (count - len(names)))]
        numbers = []
        for entry in _entries(self.channels):
            if (number := _find(entry, padded)) is None:
                return entry
            numbers.append(number)
        return numbers

    def __str__(self) -> str:
        """Return the choice as it stands at the end of a path; "" for none."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return choice_text({name: str(value) for name, value in values.items() if value is not None})


EVERYTHING = PlaneChoice()
"""No choice: the largest image, which must have a single focal plane and time point."""


def quoted_name(name: str) -> str:
    """Return the name of a channel as `--channels` takes it: in quotation marks if it has commas."""
    return '"' + name.replace('"', '""') + '"' if {",", '"'} & set(name) else name


def _entries(text: str) -> list[str]:
    """Return the entries of `--channels`. A name with a comma stands in quotation marks."""
    try:
        (row,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise FitError(f"--channels {text}: put a name with commas in quotation marks") from None
    entries = [entry.strip() for entry in row]
    if not all(entries) or not entries:
        raise FitError(f"--channels must be numbers or names separated by commas, not {text!r}")
    return entries


def _find(text: str, names: Sequence[str]) -> int | None:
    """Return the number of an entry. A text that is no valid number is a name, also of digits: "488"."""
    number = _number(text)
    if number is not None and number < len(names):
        return number
    if text in names:
        return names.index(text)
    alike = [at for at, name in enumerate(names) if name.casefold() == text.casefold()]
    return alike[0] if len(alike) == 1 else None


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None
