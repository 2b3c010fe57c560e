"""Turning and shifting groups equals doing so with the image and then cutting it; hidden patches are padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.loading import (
    GROUP,
    PATCH,
    SIZES,
    assert_same_batch,
    images,
    lay_out,
    loader,
    pixels,
    real_patches,
    samples_in,
)

from fitcli.data.augmentation import turn_groups, turn_patches
from fitcli.data.dataset import Sample
from fitcli.patches.cutting import groups_of, to_patches, to_pixels
from fitcli.patches.grid import PatchGrid

WAYS = [(quarters, mirror) for quarters in range(4) for mirror in (False, True)]


@pytest.mark.parametrize(("quarters", "mirror"), WAYS)
def test_turning_groups_equals_turning_the_image(quarters: int, mirror: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 48, 3), dtype=np.uint8)
    grid = PatchGrid((24, 48), 4, 3)
    patches = turn_patches(to_patches(pixels, grid), grid, quarters, mirror)
    groups = turn_groups(groups_of(grid), grid, quarters, mirror)

    whole = np.rot90(pixels, quarters)
    whole = np.ascontiguousarray(whole[:, ::-1] if mirror else whole)
    expected = PatchGrid(whole.shape[:2], 4, 3)
    order = groups.number.argsort()
    assert torch.equal(patches[order], to_patches(whole, expected))
    assert torch.equal(groups.coordinates[order], groups_of(expected).coordinates)


@pytest.mark.parametrize(("quarters", "mirror"), WAYS)
def test_padding_turns_with_the_pixels(quarters: int, mirror: bool) -> None:
    pixels = np.ones((17, 30, 1), np.uint8)
    grid = PatchGrid((17, 30), 4, 3)
    before, groups = to_patches(pixels, grid), groups_of(grid)
    assert groups.mask is not None
    before = before.masked_fill(~groups.mask[..., None], 0)
    patches, turned = turn_patches(before, grid, quarters, mirror), turn_groups(groups, grid, quarters, mirror)
    assert turned.mask is not None
    assert torch.equal(patches[..., 0] > 0, turned.mask)
    assert turned.coordinates.min() == 0
    assert turned.coordinates.amax(0).tolist() == ([1, 2] if quarters % 2 == 0 else [2, 1])


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Five images of different sizes. The class of each is its number."""
    return samples_in(tmp_path_factory.mktemp("images"))


def test_augmentation_turns_and_flips_and_nothing_else(samples: list[Sample]) -> None:
    # 20 x 30 pixels fill 3 x 4 groups of 8 x 8 pixels; the padding turns with the image.
    padded = np.pad(pixels(0), ((0, 4), (0, 2), (0, 0)), mode="edge")
    filled = np.zeros((24, 32), bool)
    filled[:20, :32] = True
    eight = [
        [np.rot90(array[:, ::step], turns) for array in (padded, filled)] for step in (1, -1) for turns in range(4)
    ]
    seen, gains, shifts, origins = [0] * 8, [], [], set()
    for batch in loader(samples[:1], batch_size=1, augment=True).batches(0, 80):
        image, mask = lay_out(batch)
        (match,) = (number for number, (way, _) in enumerate(eight) if np.array_equal(way, image))
        np.testing.assert_array_equal(mask, eight[match][1])
        seen[match] += 1
        gains.append(batch.gain[0].item())
        shifts.append(batch.shift[0].item())
        origins.add(tuple(batch.groups.coordinates.amin(0).tolist()))
        assert len(batch.gain.unique()) == len(batch.shift.unique()) == 1, "one image, one change"
    assert min(seen) > 0
    assert 0.7 < min(gains) < 0.95 < 1.05 < max(gains) < 1.4
    assert -0.5 < min(shifts) < -0.05 < 0.05 < max(shifts) < 0.5
    assert len(origins) > 40


def test_without_augmentation_nothing_is_changed(samples: list[Sample]) -> None:
    for batch in loader(samples[:1], batch_size=1).batches(0, 5):
        np.testing.assert_array_equal(images(batch, [SIZES[0]])[0], pixels(0))
        assert batch.groups.coordinates.amin() == 0


def test_a_shifted_image_is_whole(samples: list[Sample]) -> None:
    """Everything beside the image is padding, and groups without pixels are left out."""
    shifts = set()
    for batch in loader(samples[:1], batch_size=1, shift_canvas=13).batches(0, 60):
        image, mask = lay_out(batch)
        height, width = SIZES[0]
        matches = [
            (top, left)
            for top in range(image.shape[0] - height + 1)
            for left in range(image.shape[1] - width + 1)
            if np.array_equal(image[top : top + height, left : left + width], pixels(0))
        ]
        ((top, left),) = matches
        expected = np.zeros_like(mask)
        expected[
            top // PATCH * PATCH : -(-(top + height) // PATCH) * PATCH,
            left // PATCH * PATCH : -(-(left + width) // PATCH) * PATCH,
        ] = True
        np.testing.assert_array_equal(mask, expected)
        shifts.add((top, left))
    side = PATCH * GROUP
    assert {top for top, _ in shifts} == {left for _, left in shifts} == set(range(side)), (
        "groups without pixels are left out"
    )


def test_patches_are_hidden_at_random(samples: list[Sample]) -> None:
    hidden, real = [], []
    plain = list(loader(samples, augment=True).batches(0, 40))
    for batch, whole in zip(loader(samples, augment=True, token_dropout=0.4).batches(0, 40), plain, strict=True):
        mask, before = real_patches(batch), real_patches(whole)
        assert mask.any(dim=1).all(), "no group is empty"
        assert not (mask & ~before).any(), "padding stays padding"
        assert torch.equal(batch.patches, whole.patches), "everything else is the same"
        many = before.sum(dim=1) == GROUP**2
        real.append(before[many].sum())
        hidden.append((before & ~mask)[many].sum())
        image, kept, patches = batch.groups.image_of_group().tolist(), mask.sum(dim=1), before.sum(dim=1).tolist()
        shapes = set(zip(image, patches, strict=True))
        assert len(set(zip(image, patches, kept.tolist(), strict=True))) == len(shapes), "equal groups stay equal"
    fraction = float(sum(hidden) / sum(real))
    assert fraction == pytest.approx(0.4, abs=0.04)


@pytest.mark.parametrize("name", ["shift_canvas", "token_dropout"])
def test_shifts_and_hidden_patches_follow_from_the_position(samples: list[Sample], name: str) -> None:
    many = loader(samples, augment=True, **{name: 0.5 if name == "token_dropout" else 9})
    whole = list(many.batches(0, 6))
    for one, other in zip(many.batches(3, 6), whole[3:], strict=True):
        assert_same_batch(one, other)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16",
                                   "float32", "float64"])  # fmt: skip
@pytest.mark.parametrize(("patch", "group", "channels"), [(4, 2, 3), (16, 8, 1), (1, 4, 1)])
def test_pixels_of_every_type_turn_as_numpy_turns_them(dtype: str, patch: int, group: int, channels: int) -> None:
    """One group is one image: its pixels, put together, turn as a whole."""
    side = patch * group
    image = np.arange(side * side * channels).reshape(side, side, channels).astype(dtype)
    grid = PatchGrid((side, side), patch, group)
    for quarters in range(4):
        for mirror in (False, True):
            expected = np.rot90(image, quarters)
            expected = expected[:, ::-1] if mirror else expected
            turned = turn_patches(to_patches(image, grid), grid, quarters, mirror)
            assert turned.dtype == getattr(torch, dtype)
            assert np.array_equal(to_pixels(turned, grid), expected)
