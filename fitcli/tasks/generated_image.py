"""An image that was made, and what it says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.images.base import ImageInfo

HASH_LETTERS = 16
"""Enough of a model's hash to tell models apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generated:
    """An image that was made.

    Attributes:
        path: The file.
        info: Of it.
        number: Of the image.
        seconds: That it took.
        peak_bytes: Highest memory so far.
        about: What else is to be told, as JSON takes it: how it was run, or of which class it is.
    """

    path: Path
    info: ImageInfo
    number: int
    seconds: float
    peak_bytes: int
    about: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "width": self.info.width,
            "height": self.info.height,
            "number": self.number,
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            **self.about,
        }

    def as_row(self) -> tuple[str, ...]:
        """For a table: path, size, seconds."""
        return str(self.path), f"{self.info.width} x {self.info.height}", f"{self.seconds:.1f}"


def text(settings: Mapping[str, Any], model: str, number: int) -> str:
    """What a file says about itself: JSON in ASCII.

    Args:
        settings: Of the job, as JSON takes them.
        model: Hash of weights and settings of the model.
        number: Of the image.
    """
    said = {"software": f"fit {__version__}", "model": model[:HASH_LETTERS], "image": number}
    return json.dumps({**said, **settings})
