"""The images of a command: results in order with their paths, and bad images as reported errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import save

from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import OutOfMemory
from fitcli.images.base import ImageReader
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.image_results import image_results

PIXELS = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))


def test_bad_images_are_reported_and_the_others_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = save(tmp_path / "a.tif", np.zeros((16, 12, 1), np.uint8))
    bad = tmp_path / "b.tif"
    bad.write_bytes(b"II*\0")
    paths = [bad, good, Path(f"{good}#channels=0"), good]

    def process(number: int, image: ImageReader) -> dict[str, Any]:
        if number == 3:
            raise OutOfMemory("too large")
        return {"path": "?", "width": image.info.width}

    found = list(image_results(ImageQueue(), PIXELS, EncodingSettings(), paths, process, None))
    assert found == [None, {"path": str(good), "width": 12}, {"path": f"{good}#channels=0", "width": 12}, None]
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True]
    assert "b.tif" in lines[0]
    assert "too large" in lines[1]
