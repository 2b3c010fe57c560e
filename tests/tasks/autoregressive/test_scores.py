"""Bits of an image by the forward pass of the model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.decoders import CLASSES, checkpoint

from fitcli.device.runtime import choose_runtime
from fitcli.errors import ImageError, OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import Pixels
from fitcli.patches.levels import to_levels
from fitcli.tasks.autoregressive import scores
from fitcli.tasks.autoregressive.next_token import next_token_loss
from fitcli.tasks.autoregressive.scores import image_bits
from fitcli.tasks.autoregressive.sequences import sequence_of, shift_right, to_sequence

CPU = choose_runtime("cpu", "fp32")


def noise(height: int, width: int, dtype: Any = np.uint8) -> Pixels:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, 1), dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("levels", "label"), [(256, None), (16, 2)])
def test_bits_of_an_image_are_the_loss_of_its_sequence(levels: int, label: int | None, dtype: str) -> None:
    made = checkpoint(levels, () if label is None else CLASSES, dtype)
    sequence = sequence_of(made.config)
    pixels = noise(8, 6, dtype)
    targets = to_sequence(to_levels(pixels, levels), sequence.patch, sequence.order)
    labels = None if label is None else torch.tensor([label])
    logits = made.model(shift_right(targets, sequence.first(label)), sequence.groups((8, 6)), labels)
    bits = image_bits(made, ArrayReader(pixels), CPU, label)
    assert bits.dimensions == 48
    # The logits are rounded to float32, whatever the model computes in.
    assert bits.per_dimension == pytest.approx(next_token_loss(logits, targets).item(), rel=1e-6)


def with_rules(made: Any) -> Any:
    """The checkpoint of a run that leaves missing pixels out."""
    pixels = replace(made.config.preprocessing, rules=2, mean=(120.0,), std=(60.0,), limits=(0.0, 255.0))
    return replace(made, config=replace(made.config, preprocessing=pixels))


def test_missing_pixels_count_neither_as_bits_nor_as_dimensions() -> None:
    made, pixels = with_rules(checkpoint(16)), noise(8, 6)
    sequence, missing = sequence_of(made.config), np.zeros(pixels.shape, bool)
    missing[1:6, 2:5] = True
    filled = np.where(missing, 120, np.maximum(pixels, 1)).astype(np.uint8)
    targets = to_sequence(to_levels(filled, 16), sequence.patch, sequence.order)
    logits = made.model(shift_right(targets, sequence.first()), sequence.groups((8, 6)))
    nats = F.cross_entropy(logits.mT.float(), targets, reduction="none")
    present = to_sequence(~missing, sequence.patch, sequence.order).bool()
    marked = ArrayReader(np.where(missing, 0, filled).astype(np.uint8), nodata=0)
    bits = image_bits(made, marked, CPU)
    assert bits.dimensions == 48 - 15
    assert bits.total == pytest.approx(float(nats[present].sum()) / math.log(2), rel=1e-6)
    with pytest.raises(ImageError, match="missing pixels only"):
        image_bits(made, ArrayReader(np.zeros_like(pixels), nodata=0), CPU)


def test_a_window_without_pixels_does_not_count() -> None:
    made, pixels = with_rules(checkpoint(16)), np.maximum(noise(16, 6), 1)
    upper = image_bits(made, ArrayReader(pixels[:8], nodata=0), CPU)
    pixels[8:] = 0
    assert image_bits(made, ArrayReader(pixels, nodata=0), CPU) == upper


def test_ignorance_costs_the_logarithm_of_the_levels() -> None:
    made = checkpoint(16)
    for parameter in (made.model.token_norm.weight, made.model.token_norm.bias, made.model.bias):
        assert parameter is not None
        parameter.zero_()
    assert image_bits(made, ArrayReader(noise(8, 6)), CPU).per_dimension == pytest.approx(math.log2(16))


def test_a_larger_image_is_windows_of_the_trained_size() -> None:
    made = checkpoint(16)
    pixels = noise(13, 9)
    parts = [pixels[:8, :6], pixels[:8, 6:8], pixels[8:12, :6], pixels[8:12, 6:8]]
    expected = [image_bits(made, ArrayReader(part), CPU) for part in parts]
    bits = image_bits(made, ArrayReader(pixels), CPU)
    assert bits.dimensions == sum(part.dimensions for part in expected) == 12 * 8
    assert bits.total == pytest.approx(sum(part.total for part in expected))
    table = checkpoint(16, latent_positions="learned", groups=6)
    assert image_bits(table, ArrayReader(pixels), CPU).dimensions == 48


def test_a_larger_image_is_one_sequence_where_the_model_was_trained_on_whole_images() -> None:
    made = checkpoint(16)
    sequence = sequence_of(made.config)
    pixels = noise(13, 9)
    targets = to_sequence(to_levels(pixels[:12, :8], 16), sequence.patch, sequence.order)
    logits = made.model(shift_right(targets, sequence.first()), sequence.groups((12, 8)))
    bits = image_bits(made, ArrayReader(pixels), CPU, whole=True)
    assert bits.per_dimension == pytest.approx(next_token_loss(logits, targets).item(), rel=1e-6)


def test_images_without_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="2 x 3 pixels, the model needs 2 x 4"):
        image_bits(checkpoint(), ArrayReader(noise(3, 2)), CPU)
    with pytest.raises(ImageError, match="needs 6 x 8"):
        image_bits(checkpoint(latent_positions="learned", groups=6), ArrayReader(noise(7, 9)), CPU)
    with pytest.raises(ImageError, match="float32"):
        image_bits(checkpoint(), ArrayReader(np.zeros((8, 6, 1), np.float32)), CPU)


@pytest.mark.more
def test_memory_that_runs_out_is_one_more_pass_with_half_the_handful(monkeypatch: pytest.MonkeyPatch) -> None:
    made, passes, failures, real = checkpoint(16), list[int](), set[int](), scores.stream_decoder

    def limited(*arguments: Any) -> Any:
        passes.append(next(each.handful for each in arguments if hasattr(each, "handful")))
        result = real(*arguments)
        if len(passes) in failures:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    def score() -> Any:
        passes.clear()
        return image_bits(made, ArrayReader(noise(8, 6)), CPU).total

    monkeypatch.setattr(scores, "stream_decoder", limited)
    expected = score()
    whole = passes[0]
    failures.add(1)
    assert score() == pytest.approx(expected, rel=1e-5)
    assert passes[:2] == [whole, whole // 2]
    failures.add(2)
    with pytest.raises(OutOfMemory, match="out of memory on cuda"):
        score()


def test_the_class_changes_what_is_expected_in_every_group() -> None:
    """The first group gets it by its start, the others through the latents."""
    made = checkpoint(classes=CLASSES)
    sequence, model = sequence_of(made.config), made.model
    groups = sequence.groups((8, 6))
    next_ids = torch.randint(0, 256, (6, 8), generator=torch.Generator().manual_seed(0))
    logits = []
    with torch.no_grad():
        for label in range(3):
            ids = shift_right(next_ids, sequence.first(label))
            logits.append(model(ids, groups, torch.tensor([label])))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        changes = (logits[first] - logits[second]).abs().amax(dim=(1, 2))
        assert len(changes) == 6
        assert (changes > 1e-4).all()
