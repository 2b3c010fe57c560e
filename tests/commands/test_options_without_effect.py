"""An option that would do nothing is an error: who gives it expects something."""

from __future__ import annotations

import pytest
from support.command_line import Fit

RUN = ("--checkpoint", "run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("classify", "a.tif", *RUN, "--background-threshold", "0.1"),
            "--background-threshold is for --skip-background",
        ),
        (("embed", "a.tif", *RUN, "--out", "f", "--background-threshold", "0"), "is for --skip-background"),
        (("segment", "a.tif", *RUN, "--out", "f", "--background-threshold", "0"), "is for --skip-background"),
        (("segment", "a.tif", *RUN, "--out", "f", "--min-area", "9"), "--min-area is for --polygons"),
        (("segment", "a.tif", *RUN, "--out", "f", "--pixels"), "--pixels is for --polygons"),
        (("detect", "a.tif", *RUN, "--background-threshold", "0"), "is for --skip-background"),
        (("detect", "a.tif", *RUN, "--pixels"), "--pixels is for GeoJSON"),
        (("detect", "a.tif", *RUN, "--out", "f.csv", "--pixels"), "--pixels is for GeoJSON"),
        (("evaluate", "data", *RUN, "--background-threshold", "0.1"), "is for --skip-background"),
        (("evaluate", "data", *RUN, "--crop", "64"), "--crop is for --samples"),
        (("evaluate", "data", *RUN, "--seed", "1"), "--seed is for --samples"),
        (("evaluate", "data", *RUN, "--guidance", "1"), "--guidance is for --samples"),
        (("train", "data", "--out", "new", "--background-threshold", "0.1"), "is for --skip-background"),
        (("classify", "a.tif", *RUN, "--heatmap-target", "grade"), "--heatmap-target is for --heatmap"),
        (("classify", "a.tif", *RUN, "--heatmap-class", "a"), "--heatmap-class is for --heatmap"),
        (("profile-memory", *RUN, "--task", "diffusion"), "--task is for --preset; a run has its own task"),
    ],
)
def test_it_is_refused(fit: Fit, words: tuple[str, ...], message: str) -> None:
    result = fit(*words)
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
