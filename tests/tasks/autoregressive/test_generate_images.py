"""Images drawn from an autoregressive checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import live
from support.decoders import CLASSES, checkpoint

from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError, FitError, ImageError, OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.levels import to_levels
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive import generate_images as generate_images_module
from fitcli.tasks.autoregressive.decoding.sample import sample
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.generate_files import draw_images
from fitcli.tasks.autoregressive.generate_images import Request, generate_images
from fitcli.tasks.autoregressive.sequences import from_sequence, sequence_of, to_sequence
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.image_output import output_info
from models.decoder import FITDecoder


def drawn(made: Checkpoint[FITDecoder], **request: Any) -> list[Pixels]:
    return list(generate_images(made, Request(**request)))


def test_images_have_the_size_and_pixels_of_the_training_images() -> None:
    made = checkpoint()
    images = drawn(made, count=3)
    assert [image.shape for image in images] == [(8, 6, 1)] * 3
    assert {image.dtype for image in images} == {np.dtype(np.uint8)}
    assert not np.array_equal(images[0], images[1])
    info = output_info(images[0].shape[:2], made.config.preprocessing)
    assert (info.size, info.channels, info.dtype, info.color) == ((8, 6), 1, np.dtype(np.uint8), False)


def test_an_image_depends_on_its_number_and_the_seed_alone() -> None:
    made, shares = checkpoint(classes=CLASSES), list[float]()
    images = drawn(made, count=5, batch=2)
    alike = list(generate_images(made, Request(count=5, batch=5), shares.append))
    for one, other in zip(images, alike, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sum(shares) == pytest.approx(1)
    assert not np.array_equal(drawn(made, draws=Draws(seed=1))[0], images[0])


@pytest.mark.walk(1)
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_memory_that_runs_out_is_one_more_try_with_half_of_the_batch(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    made, shares, batches = checkpoint(classes=CLASSES), list[float](), list[int]()
    expected = drawn(made, count=5)

    def limited(*arguments: Any) -> Any:
        batches.append(len(arguments[2]))
        result = sample(*arguments)
        if len(batches) <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    monkeypatch.setattr(generate_images_module, "sample", limited)
    if failures == 2:
        with pytest.raises(OutOfMemory, match="out of memory on cuda"):
            drawn(made, count=5)
        assert batches == [5, 2]
        return
    images = list(generate_images(made, Request(count=5), shares.append))
    assert batches == [5, 2, 2, 1][: 4 * failures or 1]
    for one, other in zip(images, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sum(shares) == pytest.approx(1)


def test_labels_come_in_turn_or_as_asked() -> None:
    made = checkpoint(classes=CLASSES)
    images = drawn(made, count=3, draws=Draws(temperature=0))
    for label, image in zip(CLASSES, images, strict=True):
        np.testing.assert_array_equal(drawn(made, label=label, draws=Draws(temperature=0))[0], image)
    assert len({image.tobytes() for image in images}) == 3
    with pytest.raises(FitError, match=r"'fish'.*bird, cat, dog"):
        drawn(made, label="fish")
    with pytest.raises(FitError, match="without classes"):
        drawn(checkpoint(), label="cat")


@pytest.mark.parametrize("size", [(8, 6), (12, 4), (7, 5), (1, 1)])
def test_other_sizes_are_whole_patches_cut_off(size: tuple[int, int]) -> None:
    made = checkpoint(levels=16)
    (image,) = drawn(made, height=size[0], width=size[1])
    assert image.shape == (*size, 1)
    whole = drawn(made, height=-(-size[0] // 4) * 4, width=-(-size[1] // 2) * 2)[0]
    np.testing.assert_array_equal(image, whole[: size[0], : size[1]])


def test_fewer_levels_span_the_range() -> None:
    for dtype, brightest in (("uint8", 255), ("uint16", 65535)):
        (image,) = drawn(checkpoint(levels=2, dtype=dtype))
        assert image.dtype == np.dtype(dtype)
        assert set(np.unique(image)) == {0, brightest}


@pytest.mark.parametrize(("levels", "rows"), [(256, 4), (256, 3), (5, 6), (256, 1)])
def test_given_rows_are_kept_and_continued(levels: int, rows: int) -> None:
    made = checkpoint(levels)
    made.model.embedding.weight.mul_(5)  # So that ids matter more than places.
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 1), dtype=np.uint8)
    (image,) = drawn(made, given=ArrayReader(pixels), rows=rows)
    np.testing.assert_array_equal(image[:rows], pixels[:rows])
    (free,) = drawn(made)
    assert not np.array_equal(image[rows:], free[rows:])
    # What was drawn before, given again, is continued as it was.
    (again,) = drawn(made, given=ArrayReader(free[:4]))
    np.testing.assert_array_equal(again, free)


def test_each_drawn_pixel_follows_from_those_before_it_in_the_sequence() -> None:
    """Greedy drawing below given rows, by the forward pass over whole images."""
    made = checkpoint(levels=7)
    sequence = sequence_of(made.config)
    given = np.random.default_rng(1).integers(0, 256, (3, 6, 1), dtype=np.uint8)
    (image,) = drawn(made, given=ArrayReader(given), draws=Draws(temperature=0))
    targets = to_sequence(to_levels(image, 7), sequence.patch, sequence.order)
    ids = torch.cat([torch.tensor([sequence.first()]), targets.flatten()[:-1]]).reshape(targets.shape)
    likeliest = made.model(ids, sequence.groups((8, 6))).argmax(-1)
    predicted = from_sequence(likeliest, sequence.patch, 3, sequence.order)
    np.testing.assert_array_equal(predicted[3:], to_levels(image, 7)[3:])


def test_what_cannot_be_continued_is_refused() -> None:
    made = checkpoint()
    image = ArrayReader(np.zeros((8, 6, 1), np.uint8))
    for request, message in (
        ({"given": image}, "leave nothing to draw"),
        ({"given": image, "rows": 9}, "has 8 rows, 9"),
        ({"given": image, "rows": 4, "width": 8}, "6 pixels wide, not 8"),
        ({"given": ArrayReader(np.zeros((4, 6, 1), np.float32))}, "float32"),
        ({"count": 0}, "count"),
    ):
        with pytest.raises((ImageError, FitError), match=message):
            drawn(made, **request)


def test_a_table_of_positions_is_for_one_size() -> None:
    made = checkpoint(latent_positions="learned", groups=6)
    assert drawn(made)[0].shape == (8, 6, 1)
    with pytest.raises(FitError, match=r"6 x 8 pixels.*6 x 4"):
        drawn(made, height=4)


def test_another_task_draws_no_tokens(trained_config: RunConfig) -> None:
    with pytest.raises(CheckpointError, match="'classify'"):
        drawn(Checkpoint(live(trained_config.model), trained_config))  # type: ignore[arg-type]


def test_floats_span_the_range_of_the_training_images() -> None:
    made = checkpoint(levels=4, dtype="float32", limits=(-2.0, 4.0))
    (image,) = drawn(made)
    assert image.dtype == np.float32
    assert set(np.unique(image)) <= {-2.0, 0.0, 2.0, 4.0}
    (again,) = drawn(made, given=ArrayReader(image[:4]))
    np.testing.assert_array_equal(again, image)


def test_missing_pixels_of_given_rows_stay_missing(tmp_path: Path) -> None:
    """The model sees the mean in their place; no drawn pixel counts as missing."""
    made = checkpoint(levels=4, dtype="float32", limits=(-2.0, 4.0))
    preprocessing = replace(made.config.preprocessing, rules=CURRENT_RULES)
    made = replace(made, config=replace(made.config, preprocessing=preprocessing))
    pixels = np.full((4, 6, 1), 2, np.float32)
    pixels[0] = 4.0
    request = Request(given=ArrayReader(pixels, nodata=4.0))
    list(draw_images(made, request, tmp_path / "x.tif", False, choose_runtime("cpu", "fp32")))
    with open_image(tmp_path / "x.tif") as image:
        found = image.read(Window(0, 0, 8, 6))
        assert image.info.nodata == 4
    np.testing.assert_array_equal(found[:4], pixels)
    assert not (found[4:] == 4).any()
    pixels[0] = 0.0
    (same,) = drawn(made, given=ArrayReader(pixels))
    np.testing.assert_allclose(found[4:], same[4:], atol=1e-6)


def test_by_default_an_image_has_the_whole_patches_of_the_trained_size() -> None:
    made = checkpoint(size=(11, 7))
    assert drawn(made)[0].shape == (8, 6, 1)
    assert drawn(made, height=11, width=7)[0].shape == (11, 7, 1)


@pytest.fixture
def trained_config() -> RunConfig:
    from models.presets import classifier_preset

    pixels = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
    return RunConfig(
        model=classifier_preset("debug", 3, 2), preprocessing=pixels, classes=("a", "b"), details=ClassifyDetails()
    )
