"""Heat maps point at what decides, wherever it lies: at the rim, in the corner or in the middle.

The models have the patches, groups, latents, stem and pooling heads of a preset, and random weights but for three
linear maps, which are solved by least squares in place of a training: the keys of the last `read` find the tokens of
marks, the score of the pool finds the latents of groups with marks, and the classes are told by the same direction.
They prefer marks a little (`ATTENTION`, `POOL`), as a model after a short training does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.patches.cutting import groups_of, normalize, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import Classification, classify_image
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.evidence import patch_areas
from fitcli.tasks.classify.patch_map import contribution_map, evidence_map
from models.build import build
from models.encoder import FITClassifier
from models.presets import PRESETS, classifier_preset

CPU = choose_runtime("cpu", "fp32")
PIXELS = Preprocessing(channels=1, dtype="uint8", mean=(110.0,), std=(40.0,))

MARK, POINTED = 77, 10
"""Pixels per side of a mark, and the number of strongest patches that should lie in it."""

ATTENTION, POOL = 3.5, 1.5
"""How many times the attention of others a patch of a mark gets, and the weight of other groups a group with a mark."""

RIDGE = 1e-4
"""Weight of the squared directions in a least squares problem."""

PLACES = ("lower rim", "right rim", "corner", "middle")


def picture(size: tuple[int, int], place: str | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise of varying brightness with one mark of bright stripes, and where the mark is."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = 15 * np.sin(x / 37 + generator.uniform(0, 6)) + 15 * np.cos(y / 53 + generator.uniform(0, 6))
    pixels, mark = 90 + waves + generator.normal(0, 10, size), np.zeros(size, bool)
    if place is not None:
        inner = [int(generator.integers(20, max(side - MARK - 40, 21))) for side in size]
        top = size[0] - MARK if place in ("lower rim", "corner") else inner[0]
        left = size[1] - MARK if place in ("right rim", "corner") else inner[1]
        mark[top : top + MARK, left : left + MARK] = True
    pixels[mark] += np.where((x + y) % 4 < 2, 120, 0)[mark]
    return np.clip(pixels, 0, 255).astype(np.uint8)[..., None], mark


def in_mark(mark: np.ndarray, patch: int) -> np.ndarray:
    """Which patches [rows columns] lie in the mark, by more than half of their visible area."""
    rows, columns = (np.arange(0, side, patch) for side in mark.shape)
    sums, areas = (
        np.add.reduceat(np.add.reduceat(values.astype(float), rows, 0), columns, 1)
        for values in (mark, np.ones_like(mark))
    )
    return np.asarray(sums > areas / 2)


def solve(inputs: Tensor, marked: Tensor) -> tuple[Tensor, Tensor]:
    """Return the direction and the offset by which inputs [n c] are 1 with marks and -1 without, by ridge regression.

    Those with marks, and those without, count half each.
    """
    x = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    weight = torch.where(marked, 0.5 / marked.sum(), 0.5 / (~marked).sum())[:, None].double()
    y = torch.where(marked, 1.0, -1.0).double()
    solution = torch.linalg.solve(x.T @ (weight * x) + RIDGE * torch.eye(x.shape[1]), (weight * x).T @ y).float()
    return solution[:-1], solution[-1]


@cache
def pointing_model(preset: str) -> Checkpoint[FITClassifier]:
    config = replace(
        classifier_preset(preset, 1, 2), plan="(1)1(1)1", token_width=32, latent_width=32, token_heads=2,
        latent_heads=2,
    )  # fmt: skip
    model = build(config, seed=0).eval().requires_grad_(False)
    side = config.patch * config.group
    find_tokens(model, side)
    find_latents(model, side)
    details = ClassifyDetails()
    return Checkpoint(
        model, RunConfig(model=config, preprocessing=PIXELS, classes=("plain", "marked"), details=details)
    )


def inputs_of(model: FITClassifier, pixels: np.ndarray) -> tuple[Tensor, PatchGrid]:
    grid = PatchGrid((pixels.shape[0], pixels.shape[1]), model.config.patch, model.config.group)
    return normalize(to_patches(pixels, grid), torch.tensor(PIXELS.mean), torch.tensor(PIXELS.std)), grid


def per_group(values: np.ndarray, grid: PatchGrid) -> np.ndarray:
    """Values of patches [rows columns] as [g n]; 0 for padding."""
    whole = np.zeros((grid.rows * grid.group, grid.columns * grid.group), values.dtype)
    whole[: values.shape[0], : values.shape[1]] = values
    parts = whole.reshape(grid.rows, grid.group, grid.columns, grid.group).swapaxes(1, 2)
    return parts.reshape(grid.count, -1)


def find_tokens(model: FITClassifier, side: int) -> None:
    """Let the latents of the last `read` attend to tokens of marks."""
    read = model.encoder.trunk.segments[-1].read
    tokens, wanted = [], []
    hook = read.register_forward_hook(lambda _, arguments, __: tokens.append(arguments[1].flatten(0, 1)))
    for seed, place in enumerate(PLACES[:2] * 3):
        pixels, mark = picture((2 * side, 2 * side), place, 100 + seed)
        patches, grid = inputs_of(model, pixels)
        model(patches, groups_of(grid))
        wanted.append(torch.from_numpy(per_group(in_mark(mark, grid.patch), grid)).flatten())
    hook.remove()
    direction, _ = solve(read.source_norm(torch.cat(tokens)), torch.cat(wanted))
    attention = read.attention
    inner = attention.query.out_features
    first = torch.arange(0, inner, inner // attention.heads)
    attention.query.weight.zero_()
    attention.query.bias.zero_()
    attention.query.bias[first] = (inner / attention.heads) ** 0.5
    attention.key_value.weight[:inner] = 0
    attention.key_value.weight[first] = np.log(ATTENTION) / 2 * direction
    attention.key_value.bias[:inner] = 0


def find_latents(model: FITClassifier, side: int) -> None:
    """Let the pool prefer latents of groups with marks, and let the classes be told by them."""
    latents, wanted = [], []
    for seed, place in enumerate((*PLACES, None) * 8):
        size = (2 * side + 16 * (seed % 3), 2 * side + 16 * (seed % 4) + 40)
        pixels, mark = picture(size, place, 200 + seed)
        patches, grid = inputs_of(model, pixels)
        latents.append(model.encoder(patches, groups_of(grid)).latents)
        marked = torch.from_numpy(per_group(in_mark(mark, grid.patch), grid).mean(-1) > 0.02)
        wanted.append(marked[:, None].expand(latents[-1].shape[:2]))
    flat = [torch.cat([values.flatten(0, 1) for values in each]) for each in (latents, wanted)]
    direction, offset = solve(*flat)
    head = model.head
    for parameter in head.parameters():
        parameter.zero_()
    head.norm.weight.fill_(1)
    head.signal.weight[0], head.signal.bias[0] = 2 * direction, 2 * offset
    head.gate.bias.fill_(20)
    # The sharpness for about as many latents as the images have.
    head.score.weight[:, 0] = np.log(POOL) / 2 / (0.5 * np.log(9 * model.config.latents))
    # Groups without marks speak neither for a class nor against it.
    head.value.weight[0], head.value.bias[0] = direction, offset + 1
    head.value.weight[1], head.value.bias[1] = -direction, -offset - 1
    head.classify.weight[1, :2] = torch.tensor([1.0, -1.0])
    head.classify.weight[0, :2] = torch.tensor([-1.0, 1.0])


def pointing(values: np.ndarray, mark: np.ndarray, patch: int) -> float:
    """Share of the strongest patches that lie in the mark."""
    strongest = np.argsort(-values, axis=None, kind="stable")[:POINTED]
    return float(in_mark(mark, patch).ravel()[strongest].mean())


def sizes(side: int) -> list[tuple[int, int]]:
    """Images that end with a strip of a patch, with one row of patches, and with most of a group."""
    return [(2 * side + 8, 2 * side + 19), (2 * side + 16, side + side // 2 + 5), (3 * side - 3, 2 * side + 5)]


def results(preset: str, place: str) -> list[tuple[Classification, np.ndarray]]:
    checkpoint, drawn = pointing_model(preset), []
    side = checkpoint.model.config.patch * checkpoint.model.config.group
    for seed, size in enumerate(sizes(side)):
        pixels, mark = picture(size, place, seed)
        image = ArrayReader(pixels)
        drawn.append((classify_image(checkpoint, image, CPU, keep_evidence=True, keep_contributions=["marked"]), mark))
    return drawn


@pytest.mark.walk(1)
# The groups, the stem and the heads of "large" are those of "base".
@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "large"])
def test_the_strongest_patches_lie_in_the_mark(preset: str) -> None:
    patch = PRESETS[preset].patch
    scores, signed, faulty = {}, {}, {}
    for place in PLACES:
        done = results(preset, place)
        scores[place] = [pointing(evidence_map(result), mark, patch) for result, mark in done]
        signed[place] = [pointing(contribution_map(result, "marked"), mark, patch) for result, mark in done]
        faulty[place] = [pointing(by_latents(result), mark, patch) for result, mark in done]
    means = {place: np.mean(each) for place, each in scores.items()}
    assert min(means.values()) >= 0.8, scores
    rims = (means["lower rim"] + means["right rim"]) / 2
    assert abs(rims - means["middle"]) <= 0.1, scores
    # What the values of the latents say is coarser than where they look.
    assert np.mean(list(signed.values())) >= 0.8, signed
    assert np.mean(faulty["middle"]) < 0.8, "without the number of patches of a group, the rim outshines the middle"


def by_latents(result: Classification) -> np.ndarray:
    """The map in which a group counts by its latents, whatever part of it the image fills, as it once was drawn."""
    counts = np.count_nonzero(patch_areas(result.grid, result.places), axis=-1)
    evidence = np.asarray(result.evidence) / counts[:, None]
    return evidence_map(replace(result, evidence=(evidence / evidence.sum()).astype(np.float32)))
