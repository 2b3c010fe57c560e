"""From `fit train --task diffusion` to `fit generate`: images of the class that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import Fit
from PIL import Image

BRIGHT = {"left": np.s_[:, :16], "top": np.s_[:16]}
"""The half of the images of each class that is bright."""


@pytest.mark.slow
def test_images_are_of_the_class_that_was_asked_for(fit: Fit, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label, half in BRIGHT.items():
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(4):
            pixels = generator.integers(20, 40, (32, 32))
            pixels[half] += 190
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "data" / label / f"{number}.png")
    learning = ["--prediction", "x", "--learning-rate", "0.005", "--batch-size", 8, "--steps", 500]
    arguments = ["--task", "diffusion", "--preset", "debug", "--self-condition-rate", "0.5", *learning]
    result = fit("train", tmp_path / "data", "--out", tmp_path / "run", *arguments)
    assert result.exit_code == 0, result.stderr
    for label, half in BRIGHT.items():
        out = tmp_path / f"{label}.png"
        result = fit("generate", "--checkpoint", tmp_path / "run", "--out", out, "--label", label, "--steps", 25)
        assert result.exit_code == 0, result.stderr
        with Image.open(out) as image:
            found = np.asarray(image).astype(float)
        expected = np.full((32, 32), 29.5)
        expected[half] += 190
        # The image of the other class is 95 away from it, half of the pixels being 190 off.
        assert np.abs(found - expected).mean() < 20
