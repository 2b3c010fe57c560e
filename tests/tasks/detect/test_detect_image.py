"""Objects found a few groups at a time are those of the model on the whole image."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.dense_models import GROUP, GROUP_PIXELS, logits_of_pixels, picture
from support.detect_models import NAMES, SIDE_PIXELS, checkpoint, overlap
from support.pictures import save

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.images.open import open_image
from fitcli.memory.handfuls import TOKENS
from fitcli.runs.weights import Checkpoint
from fitcli.streaming import journal
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.detect import candidates
from fitcli.tasks.detect.detect_image import detect_image
from fitcli.tasks.detect.detections import Detections
from fitcli.tasks.detect.loss import PRIOR_LOGIT
from fitcli.tasks.encoding.encode import EncodingSettings
from models.dense import FITDense

CPU = choose_runtime("cpu", "fp32")
ALL = EncodingSettings(background=None)
CELL = 2


@pytest.fixture(autouse=True)
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random models find objects everywhere."""
    monkeypatch.setattr(candidates, "most_candidates", lambda side: 200)


@pytest.fixture(scope="module")
def model() -> Checkpoint[FITDense]:
    return checkpoint()


def expected(model: Checkpoint[FITDense], pixels: Any) -> set[tuple[int, ...]]:
    """Return (class, score, box) of the objects, from the forward pass and without the code that is tested."""
    height, width = pixels.shape[:2]
    values = logits_of_pixels(model, pixels)
    rows, columns = np.arange(1, height, CELL), np.arange(1, width, CELL)
    cells = values[rows][:, columns]
    heat = 1 / (1 + np.exp(-(cells[..., : len(NAMES)].astype(np.float32) + PRIOR_LOGIT)))
    found = []
    for y, x, kind in np.argwhere(heat > candidates.FLOOR).tolist():
        around = heat[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2, kind]
        if heat[y, x, kind] < around.max():
            continue
        top, left, bottom, right = SIDE_PIXELS / 2 * np.exp(cells[y, x, len(NAMES) :].clip(-4, 8))
        box = [(x + 0.5) * CELL - left, (y + 0.5) * CELL - top, (x + 0.5) * CELL + right, (y + 0.5) * CELL + bottom]
        box = [float(np.clip(v, 0, side)) for v, side in zip(box, (width, height) * 2, strict=True)]
        found.append((float(heat[y, x, kind]), kind, box))
    kept: list[Any] = []
    for one in sorted(found, key=lambda each: -each[0]):
        if all(one[1] != other[1] or overlap(one[2], other[2]) <= 0.6 for other in kept):
            kept.append(one)
    return {(kind, round(score * 1e4), *(round(v * 20) for v in box)) for score, kind, box in kept}


def as_set(found: Detections) -> set[tuple[int, ...]]:
    rows = zip(found.numbers.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return {(kind, round(score * 1e4), *(round(v * 20) for v in box)) for kind, score, box in rows}


@pytest.mark.parametrize("handful", [9, 10**6])
@pytest.mark.parametrize("size", [(40, 50), (60, 36), (12, 12)], ids=str)
def test_equal_to_the_model_on_the_whole(
    model: Checkpoint[FITDense], size: tuple[int, int], handful: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), handful)
    pixels = picture(size)
    found = detect_image(model, ArrayReader(pixels), CPU, ALL).found
    mine, theirs = as_set(found), expected(model, pixels)
    assert len(theirs) > 2
    # A rounded number may fall to the other side.
    assert len(mine) == len(theirs)
    assert len(mine & theirs) >= 0.9 * len(theirs)
    assert sorted(each[0] for each in mine) == sorted(each[0] for each in theirs)


def test_results_do_not_depend_on_the_handful(model: Checkpoint[FITDense], monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, found = picture((70, 61)), []
    for handful in (9, 27, 10**6):
        monkeypatch.setitem(TOKENS, ("pass", "cpu"), handful)
        found.append(detect_image(model, ArrayReader(pixels), CPU, ALL).found)
    for other in found[1:]:
        assert np.array_equal(other.boxes, found[0].boxes)
        assert np.array_equal(other.numbers, found[0].numbers)


def test_points(monkeypatch: pytest.MonkeyPatch) -> None:
    found = detect_image(checkpoint(points=True), ArrayReader(picture((40, 50))), CPU, ALL).found
    assert len(found) > 0
    assert np.array_equal(found.boxes[:, :2], found.boxes[:, 2:])


def test_left_out_groups_have_no_objects(model: Checkpoint[FITDense]) -> None:
    pixels = np.full((3 * GROUP_PIXELS, 3 * GROUP_PIXELS, 3), 200, np.uint8)
    pixels[:GROUP_PIXELS, :GROUP_PIXELS] = picture((GROUP_PIXELS, GROUP_PIXELS))
    result = detect_image(model, ArrayReader(pixels), CPU, EncodingSettings(background=0.02))
    assert result.done.places == [(0, 0)]
    middles = (result.found.boxes[:, :2] + result.found.boxes[:, 2:]) / 2
    assert len(result.found) == 0 or middles.max() < 2 * GROUP_PIXELS


def test_a_hostile_model_is_bounded_and_named(
    model: Checkpoint[FITDense], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(candidates, "most_candidates", lambda side: 2)
    detect_image(model, ArrayReader(picture((40, 50))), CPU, ALL)
    assert "candidates, of which the best were kept" in capsys.readouterr().err


def test_a_state_continues(model: Checkpoint[FITDense], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 2 * GROUP**2)
    monkeypatch.setattr(journal, "SAVE_SECONDS", 0)
    path = save(tmp_path / "image.png", picture((20, 30)))
    settings, record = replace(ALL, state=tmp_path / "state"), FolderJournal.record
    with open_image(path) as image:
        whole = detect_image(model, image, CPU, ALL).found
        calls: list[int] = []

        def fail(self: FolderJournal, *position: Any) -> None:
            calls.append(1)
            if len(calls) == 4:
                raise InterruptedError
            record(self, *position)

        with monkeypatch.context() as patch, suppress(InterruptedError):
            patch.setattr(FolderJournal, "record", fail)
            detect_image(model, image, CPU, settings)
        assert (tmp_path / "state").exists()
        again = detect_image(model, image, CPU, settings).found
    assert np.array_equal(again.boxes, whole.boxes)
    assert np.array_equal(again.scores, whole.scores)
    assert not (tmp_path / "state").exists()
