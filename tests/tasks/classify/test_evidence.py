"""An even pool gives an even map, whatever part of the last groups and patches the image fills."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from support.patch_places import patch_window
from torch import Tensor

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.token_store import MemoryStore
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.evidence import patch_areas, spread, spread_contributions, visible_sides
from fitcli.tasks.classify.heatmap import write_heatmap
from fitcli.tasks.classify.patch_map import contribution_map, evidence_map
from models.build import build
from models.encoder import FITClassifier
from models.presets import PRESETS, classifier_preset

CPU = choose_runtime("cpu", "fp32")
PIXELS = Preprocessing(channels=1, dtype="uint8", mean=(100.0,), std=(50.0,))


def even(preset: str) -> Checkpoint[FITClassifier]:
    """A narrow model with the patches, groups, latents and stem of a preset, whose pool and attention are even."""
    config = replace(
        classifier_preset(preset, 1, 2), plan="(1)1(1)1", token_width=16, latent_width=16, token_heads=2,
        latent_heads=2, pool_heads=2,
    )  # fmt: skip
    model = build(config).eval().requires_grad_(False)
    model.head.score.weight.zero_()
    for segment in model.encoder.trunk.segments:
        segment.read.attention.query.weight.zero_()
    return Checkpoint(
        model, RunConfig(model=config, preprocessing=PIXELS, classes=("a", "b"), details=ClassifyDetails())
    )


def sizes(group: int, patch: int) -> list[tuple[int, int]]:
    """Images that end with a whole group, a pixel, whole patches, or parts of patches; and one within a patch."""
    side = group * patch
    return [(2 * side, side), (side + 1, side + 1), (side + patch, 2 * side - 1), (side + patch + 3, side - 5), (1, 7)]


@pytest.mark.walk(4)
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("preset", PRESETS)
def test_an_even_pool_is_a_flat_layer(preset: str, number: int, tmp_path: Path) -> None:
    checkpoint = even(preset)
    size = sizes(PRESETS[preset].group, PRESETS[preset].patch)[number]
    image = ArrayReader(np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8))
    result = classify_image(checkpoint, image, CPU, keep_evidence=True)
    assert result.evidence is not None
    assert result.evidence.sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(evidence_map(result), 1, rtol=1e-4)
    # Each patch has the part of the evidence that it has of the image.
    area = result.grid.patch**2 / (size[0] * size[1])
    np.testing.assert_allclose(result.evidence, patch_areas(result.grid, result.places) * area, rtol=1e-4)
    write_heatmap(tmp_path / "heat.tif", image, result)
    layer = tifffile.imread(tmp_path / "heat.tif")
    assert layer.shape[:2] == size
    np.testing.assert_allclose(layer, 1, rtol=1e-4)


def test_a_group_of_twice_the_weight_is_twice_as_bright() -> None:
    """The image has two groups of 2 x 2 patches of 4 pixels; of the second, one column of patches is half visible."""
    grid = PatchGrid((8, 10), 4, 2)
    reads = torch.tensor([[[0.25] * 4], [[0.5, 0, 0.5, 0]]])
    for handful in (1, 9):
        shares = spread(torch.tensor([[1 / 3], [2 / 3]]), store(reads), grid, [(0, 0), (0, 1)], handful)
        np.testing.assert_allclose(shares, np.array([[1, 1, 1, 1], [1, 0, 1, 0]]) / 6, rtol=1e-6)


def store(reads: Tensor) -> MemoryStore:
    held = MemoryStore((reads.shape[0], reads.shape[1], reads.shape[2]), torch.float32, torch.device("cpu"))
    held.put(slice(0, len(reads)), reads)
    return held


def test_attention_within_a_group_is_kept() -> None:
    reads = torch.rand(1, 3, 16).softmax(-1)
    weights = torch.tensor([[0.2, 0.5, 0.3]])
    shares = spread(weights, store(reads), PatchGrid((16, 16), 4, 4), [(0, 0)], 4)
    np.testing.assert_allclose(shares[0], (weights @ reads[0])[0].numpy(), rtol=1e-5)


def test_areas_are_those_of_the_windows() -> None:
    grid = PatchGrid((13, 22), 4, 2)
    areas = patch_areas(grid, list(grid.coordinates()))
    for group in range(grid.count):
        for patch in range(4):
            assert areas[group, patch] == patch_window(grid, group, patch).clip(*grid.size).area / 16
    rows, columns = visible_sides(grid)
    assert rows.tolist() == [1, 1, 1, 0.25]
    assert columns.tolist() == [1, 1, 1, 1, 1, 0.5]


@pytest.mark.parametrize("handful", [1, 2, 9])
def test_contributions_are_shared_out_by_attention_and_keep_their_sum(handful: int) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 3, 2, generator=generator, dtype=torch.float64)
    reads = torch.rand(5, 3, 4, generator=generator)
    # In half precision attention sums to about one.
    reads = (reads / reads.sum(-1, keepdim=True)).bfloat16().float()
    spread_out = spread_contributions(values, store(reads), handful)
    assert spread_out.shape == (2, 5, 4)
    np.testing.assert_allclose(spread_out.sum(-1, dtype=float), values.sum(1).T, rtol=1e-5, atol=1e-6)
    first = (values[0, :, 1].float()[:, None] * reads[0] / reads[0].sum(-1, keepdim=True)).sum(0)
    np.testing.assert_allclose(spread_out[1, 0], first, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("preset", ["debug", "tiny"])
def test_even_contributions_are_a_flat_map(preset: str, number: int) -> None:
    """With equal values, which a constant is, all places contribute the same; the map says the logit without bias."""
    checkpoint = even(preset)
    checkpoint.model.head.value.weight.zero_()
    checkpoint.model.head.value.bias.copy_(torch.randn(16, generator=torch.Generator().manual_seed(1)))
    size = sizes(PRESETS[preset].group, PRESETS[preset].patch)[number]
    image = ArrayReader(np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8))
    result = classify_image(checkpoint, image, CPU, keep_contributions=["b"])
    total = result.contributions("b").values.sum(dtype=float)
    assert abs(total) > 0.01
    np.testing.assert_allclose(contribution_map(result, "b"), total, rtol=1e-4)
