"""How labels are read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How labels are read.

    Attributes:
        elsewhere: Name of the class of pixels that no polygon covers; None to ignore them.
    """

    elsewhere: str | None = None
