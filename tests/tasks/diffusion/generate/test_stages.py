"""Sizes double up to the target."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fitcli.tasks.diffusion.generate.stages import Stage, coarse_to_fine


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), st.tuples(st.integers(1, 600), st.integers(1, 600)))
def test_sizes_double_from_the_training_size_to_the_target(target: tuple[int, int], trained: tuple[int, int]) -> None:
    sizes = coarse_to_fine(target, trained)
    assert sizes[-1] == target
    assert sizes[0][0] * sizes[0][1] <= max(trained[0] * trained[1], 1)
    for small, large in pairwise(sizes):
        assert small == tuple(-(-side // 2) for side in large)
        assert large[0] * large[1] > trained[0] * trained[1]


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, 9), st.integers(1, 9))
def test_sizes_never_fall_below_a_given_image(image: tuple[int, int], more_rows: int, more_columns: int) -> None:
    target = image[0] * more_rows, image[1] * more_columns
    sizes = coarse_to_fine(target, (32, 32), image)
    assert sizes[-1] == target
    assert sizes[0][0] >= image[0]
    assert sizes[0][1] >= image[1]
    assert len(sizes) >= np.floor(np.log2(min(more_rows, more_columns)))


def test_the_groups_of_every_other_step_are_shifted_and_the_last_step_has_both() -> None:
    stage = Stage(size=(30, 40), patch=2, group=8, start=1.0, steps=3)
    assert stage.layouts == [stage.layout()]
    assert stage.pass_layouts() == [stage.layout()] * 3
    shifted = replace(stage, shift_grid=True)
    assert [layout.offset for layout in shifted.pass_layouts()] == [0, 4, 0, 4]
