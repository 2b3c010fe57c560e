"""Images that a run is used on: a warning, once, of another scale than in training."""

from __future__ import annotations

import numpy as np
import pytest
from support.pictures import save

from fitcli.distributed.image_queue import ImageQueue
from fitcli.tasks.encoding.image_opener import ImageOpener


@pytest.mark.parametrize(
    ("scale", "trained", "warned"),
    [(0.25, 0.5, True), (0.5, 0.25, True), (0.5, 0.54, False), (None, 0.5, False), (0.5, None, False)],
)
def test_another_scale_is_said_once_per_command(
    tmp_path, capsys: pytest.CaptureFixture[str], scale: float | None, trained: float | None, warned: bool
) -> None:
    path = save(tmp_path / "a.tif", np.zeros((16, 16, 1), np.uint8), scale)
    opener = ImageOpener(ImageQueue(), trained)
    for _ in range(3):
        with opener.open(path) as image:
            assert image.info.size == (16, 16)
    message = capsys.readouterr().err
    assert message.count("warning") == warned
    if warned:
        assert f"{path}: has {scale} microns per pixel, the run was trained at {trained}" in message
        assert f"--mpp {trained}" in message
    with ImageOpener(ImageQueue(), trained).open(path):
        assert capsys.readouterr().err.count("warning") == warned, "the next command says it again"
