"""A generated image as JSON data, as a row, and in the metadata of its file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fitcli import __version__
from fitcli.images.base import ImageInfo
from fitcli.tasks.generated_image import GeneratedImage, file_description

INFO = ImageInfo(height=8, width=6, channels=1, dtype=np.dtype("uint8"))


def test_a_generated_image_in_both_forms() -> None:
    image = GeneratedImage(
        path=Path("new.png"), info=INFO, number=2, seconds=1.25, peak_bytes=7, about={"label": "cat"}
    )  # fmt: skip
    assert image.as_dict() == {
        "path": "new.png", "width": 6, "height": 8, "number": 2, "seconds": 1.25, "peak_bytes": 7, "label": "cat",
    }  # fmt: skip
    assert image.as_row() == ("new.png", "6 x 8", "1.2")


def test_a_description_is_ascii_and_names_model_and_settings() -> None:
    text = file_description({"label": "Käse", "size": (8, 6)}, "0123456789abcdef" * 4, 3)
    assert text.isascii()
    assert json.loads(text) == {
        "software": f"fit {__version__}", "model": "0123456789abcdef", "image": 3, "label": "Käse", "size": [8, 6],
    }  # fmt: skip
