"""Describes a generated image: as JSON, as a row of a table, and in the metadata of its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.images.base import ImageInfo

HASH_DIGITS = 16
"""Number of hexadecimal digits of a model hash that are written: enough to tell models apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedImage:
    """A generated image that is written to a file.

    Attributes:
        path: The file.
        info: Header of the image.
        number: Number of the image in its job, from 0.
        seconds: Seconds since its generation began; for images that are drawn in batches, since the job began.
        peak_bytes: Highest memory so far.
        about: Further entries for JSON, such as how the image was computed or its class.
    """

    path: Path
    info: ImageInfo
    number: int
    seconds: float
    peak_bytes: int
    about: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the image as JSON data."""
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
        """Return path, size and seconds, as a row of a table."""
        return str(self.path), f"{self.info.width} x {self.info.height}", f"{self.seconds:.1f}"


def file_description(settings: Mapping[str, Any], model: str, number: int) -> str:
    """Return the description that is stored in the file of an image: JSON in ASCII.

    Args:
        settings: Settings of the job, as JSON data.
        model: Hash of the weights and settings of the model.
        number: Number of the image in its job.
    """
    origin = {"software": f"fit {__version__}", "model": model[:HASH_DIGITS], "image": number}
    return json.dumps({**origin, **settings})
