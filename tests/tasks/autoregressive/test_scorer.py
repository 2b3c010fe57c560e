"""The scorer of autoregressive models: bits of each image, and bits per dimension over all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.decoders import CLASSES, checkpoint

from fitcli.data.dataset import Sample
from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.tasks.autoregressive.scores import image_bits
from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
from fitcli.tasks.encoding.encode import EncodingSettings

CPU = choose_runtime("cpu", "fp32")


def test_images_are_scored_by_their_bits() -> None:
    made = checkpoint(16, CLASSES)
    scorer = AUTOREGRESSIVE.scorer(made, CPU, EncodingSettings(), whole=True)
    assert scorer.depends_on == (True,)
    images = [ArrayReader(np.full((height, 6, 1), 90, np.uint8)) for height in (8, 12)]
    samples = [Sample(Path("a.png"), 2), Sample(Path("b.png"), 0)]
    scored = [
        (sample, scorer.score(image, sample, number))
        for number, (sample, image) in enumerate(zip(samples, images, strict=True))
    ]
    for (sample, values), image in zip(scored, images, strict=True):
        assert values == [*image_bits(made, image, CPU, sample.target, whole=True)]
    result = scorer.summarize(scored, "val", failed=0)
    bits = sum(values[0] for _, values in scored) / (48 + 72)
    assert result.scores == {"bits_per_dimension": pytest.approx(bits), "dimensions": 120, "levels": 16}
    assert [row[2] for row in result.rows] == [48, 72]
