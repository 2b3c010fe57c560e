"""The blur is a convolution with a Gaussian, as torch and Pillow compute it, and leaves missing pixels out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from fitcli.data.blur import blurred, kernel, reach

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("deviation", [0.2, 0.5, 1.0, 2.7, 16.0])
def test_it_is_a_convolution(deviation: float) -> None:
    margin = reach(deviation)
    planes = RNG.normal(size=(2, 12 + 2 * margin, 9 + 2 * margin))
    distances = torch.arange(-margin, margin + 1, dtype=torch.float64)
    line = torch.exp(-(distances**2) / (2 * deviation**2))
    weights = torch.outer(line, line)[None, None] / line.sum() ** 2
    expected = torch.nn.functional.conv2d(torch.from_numpy(planes)[:, None], weights)[:, 0].numpy()
    np.testing.assert_allclose(blurred(planes, None, deviation), expected, atol=1e-12)


@pytest.mark.parametrize("deviation", [1.5, 3.0])
def test_it_is_about_that_of_pillow(deviation: float) -> None:
    """Pillow's is a chain of boxes, so the two agree in part of a step of grey."""
    pixels = RNG.integers(0, 256, (80, 80), np.uint8)
    margin = reach(deviation)
    expected = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(deviation)), np.float64)
    found = blurred(pixels[None].astype(np.float64), None, deviation)[0]
    inner = expected[margin : 80 - margin, margin : 80 - margin]
    assert np.abs(found - inner).mean() < 0.05 * pixels.std()
    assert found.std() == pytest.approx(inner.std(), rel=0.1)


@pytest.mark.parametrize("deviation", [0.4, 1.0, 2.0])
def test_missing_pixels_do_not_count(deviation: float) -> None:
    margin = reach(deviation)
    planes = RNG.normal(size=(1, 30, 26))
    missing = RNG.random(planes.shape) < 0.2
    found = blurred(np.where(missing, 1e6, planes), missing, deviation)
    weights = kernel(deviation)
    for row, column in ((margin, margin), (15, 13), (29 - margin, 25 - margin)):
        around = np.arange(-margin, margin + 1)
        square = np.outer(weights[np.abs(around)], weights[np.abs(around)])
        window = np.s_[0, row - margin : row + margin + 1, column - margin : column + margin + 1]
        present = square * ~missing[window]
        expected = (present * planes[window]).sum() / present.sum()
        assert found[0, row - margin, column - margin] == pytest.approx(expected)


def test_pixels_far_from_missing_ones_keep_their_bits() -> None:
    planes = RNG.normal(size=(1, 20, 40)).astype(np.float32)
    missing = np.zeros(planes.shape, bool)
    missing[:, :, :3] = True
    found, plain = blurred(planes, missing, 1.0), blurred(planes, None, 1.0)
    assert np.array_equal(found[:, :, 3:], plain[:, :, 3:])
    assert not np.array_equal(found[:, :, :3], plain[:, :, :3])


def test_all_missing_is_finite() -> None:
    planes = np.ones((1, 9, 9))
    assert np.isfinite(blurred(planes, np.ones(planes.shape, bool), 1.0)).all()


def test_no_blur_has_no_margin() -> None:
    assert [reach(deviation) for deviation in (0.0, 0.1, 1.0, 1.1)] == [0, 1, 3, 4]
    assert kernel(1.0)[0] + 2 * kernel(1.0)[1:].sum() == pytest.approx(1)
