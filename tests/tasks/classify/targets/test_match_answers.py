"""Answers of a data set become those of a run: by the names of targets and of classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.answer_tables import ANSWERS, TARGETS

from fitcli.data.dataset import Dataset, Sample
from fitcli.errors import DataError
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.targets.match_answers import match_answers
from models.presets import classifier_preset

DATA = Path("data.csv")
KIND, MARKS = TARGETS[:2]


def samples(*targets: Any) -> list[Sample]:
    return [Sample(Path(f"{number}.png"), target) for number, target in enumerate(targets)]


def dataset(*targets: Target, classes: tuple[str, ...] = ()) -> Dataset:
    return Dataset(classes=classes, train=(), validation=(), fingerprint="", targets=targets)


def run(*targets: Target, classes: tuple[str, ...] = ()) -> RunConfig:
    names = targets[0].classes if targets else classes
    counts = tuple(target.outputs for target in targets)
    model = replace(classifier_preset("debug", 1, sum(counts) or len(classes)), targets=counts)
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    return RunConfig(model=model, preprocessing=pixels, classes=names, details=ClassifyDetails(all_targets=targets))


def test_targets_are_matched_by_name_and_other_columns_are_ignored() -> None:
    other = Target("size", "single-label", ("small", "large"))
    kind, marks = Target("kind", "single-label", ("owl", "dog")), Target("marks", "multi-label", ("b",))
    data, config = dataset(marks, other, kind), run(KIND, MARKS)
    chosen = samples(((0,), (0,), (0,)), ((), (1,), (1,)))
    assert match_answers(DATA, data, chosen, config) == samples(((2,), (1,)), ((1,), ()))
    with pytest.raises(DataError, match=r"data\.csv: has no column labels:marks, which the run was trained on"):
        match_answers(DATA, dataset(kind), samples(((0,),)), config)
    strange = Target("marks", "multi-label", ("b", "c"))
    with pytest.raises(DataError, match="the run has no class 'c'; it was trained on a, b"):
        match_answers(DATA, dataset(kind, strange), samples(((0,), (1,))), config)


def test_answers_of_all_kinds_keep_their_unit() -> None:
    """What a data set learned of its own values does not matter: the run has its own scale."""
    own = [replace(target, scale=(), outputs=len(target.classes) or 1) for target in TARGETS]
    matched = match_answers(DATA, dataset(*reversed(own)), samples(*(image[::-1] for image in ANSWERS)), run(*TARGETS))
    assert matched == samples(*ANSWERS)
    for missing, column in ((2, "value:size"), (3, "order:grade"), (4, "time:life and event:life")):
        left = [target for number, target in enumerate(own) if number != missing]
        with pytest.raises(DataError, match=f"has no column {column}, which"):
            match_answers(DATA, dataset(*left), samples(ANSWERS[0][:4]), run(*TARGETS))
    number = Target("kind", "value", (), outputs=1)
    with pytest.raises(DataError, match="has no column label:kind, which"):
        match_answers(DATA, dataset(number), samples(((3.0,),)), run(KIND))


def test_one_class_per_image_is_the_target_called_label() -> None:
    config = run(classes=("cat", "dog"))
    assert match_answers(DATA, dataset(classes=("dog", "cat")), samples(0, 1), config) == samples(1, 0)
    label = Target("label", "single-label", ("dog", "cat"))
    assert match_answers(DATA, dataset(MARKS, label), samples(((0,), (0,))), config) == samples(1)
    with pytest.raises(DataError, match="has the columns label:kind, labels:marks, the run was trained on one class"):
        match_answers(DATA, dataset(KIND, MARKS), samples(((0,), ())), config)
    with pytest.raises(DataError, match="has no column label:kind, which the run was trained on"):
        match_answers(DATA, dataset(classes=("cat", "dog")), samples(0), run(KIND, MARKS))
