"""Answers of images as rows of numbers: how they are read, joined, and spread over batches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from support.answer_tables import ANSWERS, TARGETS

from fitcli.data.dataset import Sample
from fitcli.data.place import Layout, PlaceRules, draw_place
from fitcli.distributed.world import Axis
from fitcli.images.array_image import ArrayReader
from fitcli.tasks.class_targets import ClassLabelReader
from fitcli.tasks.classify.targets.rows import AnswerRows, answer_rows, target_reader

IMAGE = ArrayReader(torch.zeros(8, 8, 1, dtype=torch.uint8).numpy())


def samples(*targets: Any) -> list[Sample]:
    return [Sample(Path(f"{number}.png"), target) for number, target in enumerate(targets)]


def test_rows_hold_the_answers_to_all_targets() -> None:
    rows = answer_rows(TARGETS, ANSWERS)
    assert rows.dtype == torch.float32
    # Class; whether each mark holds; standardised size; levels below, and are there more; bins, and whether dead.
    assert rows[0].tolist() == [0, 1, 1, 1, 1, 1, 0, 1]
    assert rows[1].isnan().tolist() == [False, False, False, True, True, True, False, False]
    assert rows[1, :3].tolist() == [2, 0, 0]
    assert rows[1, 6:].tolist() == [2, 0]
    assert rows[2, 3:6].tolist() == [-3.5, 2, 0]
    assert rows[2, 6:].isnan().all()


def test_a_batch_is_joined() -> None:
    reader, images = target_reader(TARGETS), samples(*ANSWERS)
    place = draw_place(IMAGE, Layout(patch=4, group=2), PlaceRules(), 0, 0, Axis())
    batch = reader.join([reader.read(sample, place, IMAGE, None) for sample in images])
    assert isinstance(batch, AnswerRows)
    torch.testing.assert_close(batch.rows, answer_rows(TARGETS, ANSWERS), equal_nan=True)
    assert batch.map_tensors(lambda tensor: tensor[:1]).rows.shape == (1, 8)
    assert isinstance(target_reader(()), ClassLabelReader)


def test_strata_are_those_of_the_first_target_whose_classes_are_spread() -> None:
    kind, marks, size, grade, life = TARGETS
    for targets, answers, expected in (
        ((kind, marks), (((1,), (0,)), ((2,), ())), [1, 2]),
        ((marks, kind), (((0, 1), (1,)), ((), (0,))), [1, 0]),
        ((size, grade, kind), (((3.0,), (2,), (0,)), ((), (), (1,))), [2, -1]),
        ((marks, size, life), (((0,), (math.pi,), (1.0, 1.0)), ((), (), ())), [0, 0]),
    ):
        assert [target_reader(targets).stratum(sample) for sample in samples(*answers)] == expected
