"""Test position codes against a float64 evaluation, at any image size, and for a single position."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.batches import denoiser_config, encoder_config, inputs_for, live, run

from models.groups import Groups
from models.positions import REFERENCE_RANGE, sincos, sincos2d, sincos_grid, spread


def code(coordinates: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Compute the code by its definition in float64."""
    angles = coordinates[..., None] / 10000.0 ** (2 * np.arange((width + 1) // 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)[..., : width // 2]], axis=-1)


@given(
    coordinates=st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=8),
    width=st.integers(1, 65),
)
def test_code_is_its_definition_up_to_the_rounding_of_angles(coordinates: list[float], width: int) -> None:
    # The spacing of float32 numbers near 1000 is 6e-5.
    expected = code(np.array(coordinates), width)
    np.testing.assert_allclose(sincos(torch.tensor(coordinates), width).numpy(), expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("width", [64, 384])
def test_code_of_integer_coordinates_is_exact_for_images_of_any_size(width: int) -> None:
    rows = np.arange(512.0)
    assert np.abs(sincos(torch.arange(512), width).numpy() - code(rows, width)).max() < 1e-4


def test_code_of_the_plane_is_row_then_column() -> None:
    rows, columns = torch.tensor([0.0, 3.0]), torch.tensor([5.0, 1.0])
    assert torch.equal(sincos2d(rows, columns, 12), torch.cat([sincos(rows, 6), sincos(columns, 6)], dim=-1))
    table = sincos_grid(3, 4, 12, REFERENCE_RANGE, torch.device("cpu"))
    assert table.shape == (3, 4, 12)
    assert torch.equal(table[2, 1], torch.cat([sincos(torch.tensor(1000.0), 6), sincos(spread(4, 1000.0)[1], 6)]))


def test_spread_is_even_and_ends_at_the_maximum() -> None:
    assert spread(5, 1000.0).tolist() == [0, 250, 500, 750, 1000]
    assert spread(3, None).tolist() == [0, 1, 2]


def test_a_single_position_has_a_code() -> None:
    assert spread(1, 1000.0).tolist() == [0]
    assert torch.isfinite(sincos_grid(1, 1, 8, 1000.0, torch.device("cpu"))).all()
    groups = Groups.of_grid(images=1, rows=1, columns=1)
    for kind in ("sincos", "sincos2d"):
        config = encoder_config(tokens=1, latents=1, token_positions=kind, latent_positions="sincos", groups=1)
        for value in run(live(config), groups, inputs_for(config, groups)):
            assert torch.isfinite(value).all()


@pytest.mark.parametrize("rows_columns", [(1, 1), (1, 7), (9, 2), (13, 17)])
def test_a_model_runs_at_sizes_it_has_never_seen(rows_columns: tuple[int, int]) -> None:
    for config in (encoder_config(), denoiser_config()):
        groups = Groups.of_grid(2, *rows_columns)
        for value in run(live(config), groups, inputs_for(config, groups)):
            assert torch.isfinite(value).all()


def test_codes_differ_and_depend_on_coordinates_alone() -> None:
    start = live(encoder_config()).start
    wide, tall = Groups.of_grid(1, 2, 6), Groups.of_grid(1, 6, 2)
    like = torch.zeros(1, dtype=torch.float64)
    wide_codes, tall_codes = start(wide, like), start(tall, like)
    assert len({tuple(latent) for latent in wide_codes.flatten(0, 1).tolist()}) == 24
    same = [
        (i, j)
        for i, a in enumerate(wide.coordinates.tolist())
        for j, b in enumerate(tall.coordinates.tolist())
        if a == b
    ]
    assert len(same) == 4
    for i, j in same:
        assert torch.equal(wide_codes[i], tall_codes[j])


def test_a_table_refuses_more_groups_than_it_has() -> None:
    for kind in ("learned", "sincos"):
        config = encoder_config(latent_positions=kind, groups=4)
        groups = Groups.of_grid(1, 3, 3)
        with pytest.raises(ValueError, match=r"4 groups .* 9"):
            run(live(config), groups, inputs_for(config, groups))


def test_codes_do_not_depend_on_the_precision_of_the_model() -> None:
    positions = live(encoder_config()).embed.positions
    whole = positions(torch.zeros(1))
    assert torch.equal(positions(torch.zeros(1, dtype=torch.bfloat16)), whole.bfloat16())
    assert torch.equal(positions(torch.zeros(1, dtype=torch.float64)), whole.double())
