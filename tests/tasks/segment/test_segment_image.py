"""The cells of an image, a few groups at a time, are those of the model on the whole image."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.dense_models import CELL, CELLS, GROUP, GROUP_PIXELS, NAMES, PATCH, checkpoint, logits_of_pixels, picture
from support.pictures import save

from fitcli.device.runtime import choose_runtime
from fitcli.errors import FitError, ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.memory.handfuls import TOKENS
from fitcli.patches.grid import PatchGrid
from fitcli.runs.finite_output import NonFiniteOutput
from fitcli.runs.weights import Checkpoint
from fitcli.streaming import journal
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.encoding import group_encoder
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.segment.segment_files import with_probabilities
from fitcli.tasks.segment.segment_image import most_probable, probability_bytes, segment_image
from fitcli.tasks.segment.strips import NOT_SEEN, Strips, pixels_of
from models.dense import FITDense

CPU = choose_runtime("cpu", "fp32")
ALL = EncodingSettings(background=None)
SIZES = [(40, 50), (33, 7), (12, 12), (1, 1), (130, 21)]


@pytest.fixture(scope="module")
def model() -> Checkpoint[FITDense]:
    return checkpoint()


def found(
    model: Checkpoint[FITDense], image: ImageReader, settings: EncodingSettings = ALL, values: Any = with_probabilities
) -> np.ndarray[Any, Any]:
    """Return classes and probabilities by pixel, [height width 1+k]."""
    parts: list[np.ndarray[Any, Any]] = []
    height, width = image.info.size

    def take(row: int, cells: np.ndarray[Any, Any]) -> None:
        parts.append(pixels_of(cells, CELL, min(GROUP_PIXELS, height - row * GROUP_PIXELS), width))

    strips = Strips(PatchGrid((height, width), PATCH, GROUP), CELLS, take)
    segment_image(model, image, CPU, settings, strips.put, values)
    strips.finish()
    return np.concatenate(parts)


def expected(model: Checkpoint[FITDense], pixels: np.ndarray[Any, Any], **options: Any) -> np.ndarray[Any, Any]:
    """Return the same of the forward pass of the model, without a look at the code that is tested."""
    logits = logits_of_pixels(model, pixels, **options)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    unseen = np.isnan(logits[..., 0])
    classes = np.where(unseen, NOT_SEEN, np.nan_to_num(logits).argmax(axis=-1))
    bytes_ = np.where(unseen[..., None], NOT_SEEN, np.round(np.nan_to_num(shares) * 255))
    return np.concatenate([classes[..., None], bytes_], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("handful", [9, 30, 10**6])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equal_to_the_model_on_the_whole(
    model: Checkpoint[FITDense], size: tuple[int, int], handful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), handful)
    pixels = picture(size)
    result, whole = found(model, ArrayReader(pixels)), expected(model, pixels)
    np.testing.assert_array_equal(result[..., 0], whole[..., 0])
    assert np.abs(result[..., 1:].astype(int) - whole[..., 1:]).max() <= 1, "a byte may round to the other side"
    np.testing.assert_array_equal(found(model, ArrayReader(pixels), values=most_probable), whole[..., 0])


def test_all_classes_are_found(model: Checkpoint[FITDense]) -> None:
    """The other tests would miss a mistake if the model saw the same everywhere."""
    counts = np.bincount(expected(model, picture(SIZES[0]))[..., 0].ravel(), minlength=len(NAMES))
    assert (counts > 0).sum() > 1, counts


def half_empty() -> np.ndarray[Any, Any]:
    pixels = np.full((3 * GROUP_PIXELS, 4 * GROUP_PIXELS, 3), 200, np.uint8)
    pixels[: 2 * GROUP_PIXELS, GROUP_PIXELS : 2 * GROUP_PIXELS] = picture((2 * GROUP_PIXELS, GROUP_PIXELS))
    pixels[:GROUP_PIXELS, 3 * GROUP_PIXELS :] = picture((GROUP_PIXELS, GROUP_PIXELS), 2)
    return pixels


def test_background_is_left_out(model: Checkpoint[FITDense]) -> None:
    pixels, kept = half_empty(), {(0, 1), (0, 3), (1, 1)}
    left_out = {(row, column) for row in range(3) for column in range(4)} - kept
    settings = EncodingSettings(background=0.02)
    whole = expected(model, pixels, left_out=left_out)
    result = found(model, ArrayReader(pixels), settings)
    np.testing.assert_array_equal(result[..., 0], whole[..., 0])
    assert (result[..., 0] == NOT_SEEN).sum() == len(left_out) * GROUP_PIXELS**2
    done = segment_image(model, ArrayReader(pixels), CPU, settings, lambda places, cells: None)
    assert set(done.places) == kept


def test_memory_that_runs_out_gives_every_cell_once(
    model: Checkpoint[FITDense], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass starts again with half the handful, and in between some groups were taken."""
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 4 * GROUP**2)
    pixels, real, calls = picture((60, 60)), group_encoder.stream_encoder, list[int]()

    def limited(*arguments: Any) -> torch.Tensor:
        handful, outputs = arguments[3].handful, arguments[4]
        calls.append(handful)
        put, parts = outputs.tokens, list[slice]()

        def first_ones(part: slice, tokens: torch.Tensor) -> None:
            parts.append(part)
            if len(calls) == 1 and len(parts) == 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            put(part, tokens)

        return real(*arguments[:4], replace(outputs, tokens=first_ones), *arguments[5:])

    monkeypatch.setattr(group_encoder, "stream_encoder", limited)
    taken: list[tuple[int, int]] = []
    parts: list[torch.Tensor] = []

    def take(places: list[tuple[int, int]], cells: torch.Tensor) -> None:
        taken.extend(places)
        parts.append(cells)

    segment_image(model, ArrayReader(pixels), CPU, ALL, take)
    assert calls == [4, 2]
    assert taken == list(PatchGrid((60, 60), PATCH, GROUP).coordinates())
    monkeypatch.setattr(group_encoder, "stream_encoder", real)
    np.testing.assert_array_equal(
        found(model, ArrayReader(pixels), values=most_probable), expected(model, pixels)[..., 0]
    )
    whole: list[torch.Tensor] = []
    segment_image(model, ArrayReader(pixels), CPU, ALL, lambda places, cells: whole.append(cells))
    assert torch.equal(torch.cat(parts), torch.cat(whole))


def test_a_state_continues_at_every_handful(
    model: Checkpoint[FITDense], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is stopped after 1, 2, ... handfuls, until it comes to its end."""
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 2 * GROUP**2)
    monkeypatch.setattr(journal, "SAVE_SECONDS", 0)
    path = save(tmp_path / "image.png", picture((20, 30)))
    settings, record, moments = replace(ALL, state=tmp_path / "state"), FolderJournal.record, 0
    with open_image(path) as image:
        whole = found(model, image)
        for moment in range(1, 100):
            calls: list[int] = []

            def fail(self: FolderJournal, *position: Any, calls: list[int] = calls, moment: int = moment) -> None:
                calls.append(1)
                if len(calls) == moment:
                    raise InterruptedError
                record(self, *position)

            with monkeypatch.context() as patch, suppress(InterruptedError):
                patch.setattr(FolderJournal, "record", fail)
                assert np.array_equal(found(model, image, settings), whole)
                break
            moments += 1
            assert (tmp_path / "state").exists()
            assert np.array_equal(found(model, image, settings), whole)
            assert not (tmp_path / "state").exists()
    assert moments >= 5, "two sweeps over 6 groups, two at a time"


def test_a_state_belongs_to_its_purpose(model: Checkpoint[FITDense], tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", picture((30, 50)))
    settings = replace(ALL, state=tmp_path / "state")

    def stop(places: Any, cells: Any) -> None:
        raise InterruptedError

    with open_image(path) as image:
        with suppress(InterruptedError):
            segment_image(model, image, CPU, settings, stop, purpose="segment --out a.tif")
        with pytest.raises(FitError, match=r"was begun with purpose segment --out a\.tif, not segment --out b\.tif"):
            segment_image(model, image, CPU, settings, stop, purpose="segment --out b.tif")


def test_progress_is_told_to_the_end(model: Checkpoint[FITDense]) -> None:
    shares: list[float] = []
    segment_image(model, ArrayReader(picture((130, 121))), CPU, ALL, lambda places, cells: None, advance=shares.append)
    assert sum(shares) == pytest.approx(1)


def test_predictions_that_are_not_finite_are_one_error() -> None:
    broken = replace(checkpoint(), folder=Path("run"))
    broken.model.head.bias.data[0] = torch.inf
    with pytest.raises(NonFiniteOutput, match="predictions"):
        found(broken, ArrayReader(picture((12, 12))))


def test_images_of_another_kind_are_refused(model: Checkpoint[FITDense]) -> None:
    with pytest.raises(ImageError, match="array: has 5 channels, the model was trained on 3"):
        found(model, ArrayReader(np.zeros((9, 9, 5), np.uint8)))


def test_values_of_cells() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0], [9.0, -9.0, 0.0]], dtype=torch.bfloat16)
    assert most_probable(logits).tolist() == [1, 0], "of equal ones the first"
    shares = probability_bytes(logits).int()
    assert (shares.sum(dim=-1) - 255).abs().max() <= 1
    assert shares[1].tolist() == [255, 0, 0]
