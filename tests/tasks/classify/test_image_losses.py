"""The loss of an image is that of its known targets."""

from __future__ import annotations

import math

import pytest

from fitcli.runs.targets import Target
from fitcli.tasks.classify.image_losses import image_loss

KIND = Target("kind", "single-label", ("a", "b"), outputs=2)
GRADE = Target("grade", "order", ("1", "2"), outputs=1)


def test_the_loss_is_the_mean_over_known_targets() -> None:
    one = image_loss([KIND], [[0.25, 0.75]], [(0,)])
    assert one == pytest.approx(-math.log(0.25))
    both = image_loss([KIND, GRADE], [[0.25, 0.75], [0.5, 0.5]], [(0,), (1,)])
    assert both == pytest.approx((one + math.log(2)) / 2)
    assert image_loss([KIND, GRADE], [[0.25, 0.75], [0.5, 0.5]], [(0,), ()]) == pytest.approx(one)
    assert image_loss([GRADE], [[0.5, 0.5]], [()]) == 0
