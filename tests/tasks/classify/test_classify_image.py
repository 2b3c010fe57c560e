"""Classifying an open image, a few groups at a time, is the model on the whole image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.patch_places import patch_window

from fitcli.device.runtime import choose_runtime
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import Pixels
from fitcli.images.window import Window
from fitcli.memory.handfuls import TOKENS
from fitcli.patches.cutting import groups_of, normalize, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify import classify_image as classify_module
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.evidence import patch_areas
from models.build import build
from models.config import ClassifierConfig

CPU = choose_runtime("cpu", "fp32")
PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))
SIZES = [(40, 50), (33, 7), (16, 16), (1, 1), (130, 21)]


@pytest.fixture(scope="module", params=["(1)1(1)1", "(1)2"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    config = ClassifierConfig.from_dict(
        {
            "plan": request.param, "tokens": 9, "latents": 2, "token_width": 12, "latent_width": 16, "token_heads": 2,
            "latent_heads": 4, "patch": 4, "channels": 3, "classes": 3, "pool_heads": 2,
        }
    )  # fmt: skip
    model = build(config, seed=3).eval().requires_grad_(False)
    # Weights that have just been initialised hide mistakes: make every part of the model matter.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return Checkpoint(
        model, RunConfig(model=config, preprocessing=PIXELS, classes=("a", "b", "c"), details=ClassifyDetails())
    )


def picture(size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, channels)).astype(dtype)


def whole(checkpoint: Checkpoint, pixels: np.ndarray) -> tuple[np.ndarray, torch.Tensor, PatchGrid]:
    """Probabilities and evidence per latent by the model's own forward pass."""
    grid = PatchGrid((pixels.shape[0], pixels.shape[1]), 4, 3)
    patches = normalize(to_patches(pixels, grid), torch.tensor(PIXELS.mean), torch.tensor(PIXELS.std))
    logits, evidence = checkpoint.model(patches, groups_of(grid))
    return logits[0].double().softmax(-1).numpy(), evidence, grid


@pytest.mark.walk
@pytest.mark.parametrize("handful", [9, 30, 10**6])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equal_to_the_model_on_the_whole(
    checkpoint: Checkpoint, size: tuple[int, int], handful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), handful)
    result = classify_image(checkpoint, ArrayReader(picture(size)), CPU, keep_evidence=True)
    probabilities, evidence, grid = whole(checkpoint, picture(size))
    np.testing.assert_allclose(result.probabilities, probabilities, atol=1e-5)
    assert result.probabilities.sum() == pytest.approx(1)
    assert result.grid == grid
    assert result.evidence is not None
    areas = patch_areas(grid, result.places)
    # Attention has the sum 1 over the patches of a group, and evidence is weighed by their number and their area.
    weighed = result.evidence / np.where(areas > 0, areas, np.inf) / np.count_nonzero(areas, axis=-1)[:, None]
    np.testing.assert_allclose(weighed.sum(-1) / weighed.sum(), evidence.sum((1, 2)).numpy(), atol=1e-5)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_evidence_is_shared_out_among_the_patches_with_pixels(checkpoint: Checkpoint, size: tuple[int, int]) -> None:
    result = classify_image(checkpoint, ArrayReader(picture(size)), CPU, keep_evidence=True)
    assert result.evidence is not None
    assert result.evidence.sum() == pytest.approx(1, abs=1e-4)
    assert result.evidence.min() >= 0
    for group in range(result.grid.count):
        for patch in range(9):
            has_pixels = patch_window(result.grid, group, patch).clip(*size).area > 0
            assert (result.evidence[group, patch] > 0) == has_pixels


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_contributions_and_bias_are_the_logit(checkpoint: Checkpoint, size: tuple[int, int]) -> None:
    """The logits of a single-label target count from their mean, so that the softmax of the sums is the prediction."""
    image = ArrayReader(picture(size))
    result = classify_image(checkpoint, image, CPU, keep_contributions=["c", "a", "b"])
    assert result.evidence is None
    parts = [result.contributions(name) for name in "abc"]
    sums = np.array([part.values.sum(dtype=np.float64) + part.bias for part in parts])
    np.testing.assert_allclose(np.exp(sums) / np.exp(sums).sum(), result.probabilities, atol=2e-6)
    assert sums.sum() == pytest.approx(0, abs=1e-4)
    areas = patch_areas(result.grid, result.places)
    assert all((part.values[areas == 0] == 0).all() for part in parts)
    with pytest.raises(ValueError, match=r"keep_contributions=\['d'\]"):
        result.contributions("d")


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_contributions_do_not_depend_on_how_they_are_computed(
    checkpoint: Checkpoint, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ArrayReader(picture((40, 50)))
    whole = classify_image(checkpoint, image, CPU, keep_contributions=["a", "b", "c"])
    monkeypatch.setattr(classify_module, "CLASSES_AT_ONCE", classes)
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 9)
    with torch.autocast("cpu", torch.bfloat16):
        parts = classify_image(checkpoint, image, CPU, keep_contributions=["b", "a", "c"])
    for name in "abc":
        np.testing.assert_allclose(parts.contributions(name).values, whole.contributions(name).values, atol=1e-5)
        assert parts.contributions(name).bias == pytest.approx(whole.contributions(name).bias)


def test_contributions_of_multi_label_targets_count_from_zero(checkpoint: Checkpoint) -> None:
    details = ClassifyDetails(
        all_targets=(Target("first", "single-label", ("x",)), Target("second", "multi-label", ("a", "b")))
    )
    config = replace(checkpoint.config.model, targets=(1, 2))
    model = build(config, seed=0).eval().requires_grad_(False)
    several = Checkpoint(model, replace(checkpoint.config, model=config, classes=("x",), details=details))
    image = ArrayReader(picture((40, 50)))
    result = classify_image(several, image, CPU, evidence_target=1, keep_contributions=["a", "b"])
    for name, probability in zip("ab", result.others[0], strict=True):
        part = result.contributions(name)
        logit = part.values.sum(dtype=np.float64) + part.bias
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(probability, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["(1)2"], indirect=True)
def test_half_precision_gives_about_the_same_contributions(checkpoint: Checkpoint) -> None:
    runtime = choose_runtime("cpu", "bf16")
    result = classify_image(checkpoint, ArrayReader(picture((40, 50))), runtime, keep_contributions=["a", "b", "c"])
    parts = [result.contributions(name) for name in "abc"]
    sums = np.array([part.values.sum(dtype=np.float64) + part.bias for part in parts])
    logits = np.log(result.probabilities)
    np.testing.assert_allclose(sums, logits - logits.mean(), atol=0.1)


def test_different_images_get_different_answers(checkpoint: Checkpoint) -> None:
    dark, light = (classify_image(checkpoint, ArrayReader(picture((40, 50)) // 4 + add), CPU) for add in (0, 190))
    assert np.abs(dark.probabilities - light.probabilities).max() > 1e-3
    assert dark.evidence is None


class Watched(ArrayReader):
    """Remembers what was read."""

    def read(self, window: Window, level: int = 0) -> Pixels:
        self.seen = [*getattr(self, "seen", []), (window, level)]
        return super().read(window, level)


def test_every_pixel_is_read_once_at_full_resolution(checkpoint: Checkpoint) -> None:
    image = Watched(picture((40, 50)))
    classify_image(checkpoint, image, CPU)
    times = np.zeros((40, 50), int)
    for window, level in image.seen:
        assert level == 0
        times[window.slices()] += 1
    assert (times == 1).all()


def test_progress_is_told_to_the_end(checkpoint: Checkpoint) -> None:
    shares: list[float] = []
    classify_image(checkpoint, ArrayReader(picture((130, 121))), CPU, advance=shares.append)
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1)


def test_pixels_are_brought_to_what_the_model_expects(checkpoint: Checkpoint) -> None:
    pixels = picture((40, 50))
    expected = classify_image(checkpoint, ArrayReader(pixels), CPU).probabilities
    alpha = np.concatenate([pixels, np.full((40, 50, 1), 9, np.uint8)], -1)
    deep = pixels.astype(np.uint16) * 257
    for image in (ArrayReader(alpha, color=True), ArrayReader(deep, color=True)):
        np.testing.assert_allclose(classify_image(checkpoint, image, CPU).probabilities, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (picture((9, 9), 5), "has 5 channels, the model was trained on 3; "),
        (picture((9, 9), 1, "float32"), "has float32 pixels, the model was trained on uint8; "),
        (picture((9, 9), 3, "int16"), "has int16 pixels, the model was trained on uint8; "),
    ],
)
def test_images_of_another_kind_are_refused(checkpoint: Checkpoint, pixels: np.ndarray, reason: str) -> None:
    image = Watched(pixels)
    with pytest.raises(ImageError, match=f"array: {reason}"):
        classify_image(checkpoint, image, CPU)
    assert not hasattr(image, "seen"), "nothing was read"


def test_an_image_that_breaks_half_way_is_an_image_error(checkpoint: Checkpoint) -> None:
    class Broken(ArrayReader):
        def read(self, window: Window, level: int = 0) -> Pixels:
            if window.top > 20:
                raise ImageError(self.path, "chunk 7 is damaged")
            return super().read(window, level)

    with pytest.raises(ImageError, match="chunk 7"):
        classify_image(checkpoint, Broken(picture((200, 50))), CPU)


def test_autocast_of_the_caller_changes_nothing(checkpoint: Checkpoint) -> None:
    pixels = picture(SIZES[0])
    expected = classify_image(checkpoint, ArrayReader(pixels), CPU, keep_evidence=True)
    with torch.autocast("cpu", torch.bfloat16):
        result = classify_image(checkpoint, ArrayReader(pixels), CPU, keep_evidence=True)
    assert result.evidence is not None
    assert expected.evidence is not None
    np.testing.assert_array_equal(result.evidence, expected.evidence)
    np.testing.assert_array_equal(result.probabilities, expected.probabilities)
