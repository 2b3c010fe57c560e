"""Classes as targets: how they are read, joined, spread over batches, and matched to the classes of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fitcli.data.dataset import Dataset, Sample
from fitcli.data.place import Layout, Place, PlaceRules, draw_place
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.images.array_image import ArrayReader
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.tasks.class_targets import ClassLabels, ClassSets, class_reader, match_classes, padded
from fitcli.tasks.classify.config import ClassifyDetails
from models.presets import classifier_preset

DATA = Path("data.csv")
KIND = Target("kind", "single-label", ("cat", "dog", "owl"))
MARKS = Target("marks", "multi-label", ("a", "b"))
IMAGE = ArrayReader(torch.zeros(8, 8, 1, dtype=torch.uint8).numpy())


def samples(*targets: Any) -> list[Sample]:
    return [Sample(Path(f"{number}.png"), target) for number, target in enumerate(targets)]


def place() -> Place:
    return draw_place(IMAGE, Layout(patch=4, group=2), PlaceRules(), 0, 0, Axis())


def dataset(*targets: Target, classes: tuple[str, ...] = ()) -> Dataset:
    return Dataset(classes=classes, train=(), validation=(), fingerprint="", targets=targets)


def run(*targets: Target, classes: tuple[str, ...] = ()) -> RunConfig:
    names = targets[0].classes if targets else classes
    counts = tuple(len(target.classes) for target in targets)
    model = replace(classifier_preset("debug", 1, sum(counts) or len(classes)), targets=counts)
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    return RunConfig(model=model, preprocessing=pixels, classes=names, details=ClassifyDetails(all_targets=targets))


def test_one_class_per_image() -> None:
    reader, images = class_reader(()), samples(2, 0, 1)
    assert [reader.read(sample, place(), IMAGE, None) for sample in images] == [2, 0, 1]
    assert [reader.stratum(sample) for sample in images] == [2, 0, 1]
    labels = reader.join([2, 0, 1])
    assert isinstance(labels, ClassLabels)
    assert (labels.numbers.tolist(), labels.numbers.dtype) == ([2, 0, 1], torch.int64)
    assert labels.map_tensors(lambda tensor: tensor + 1).numbers.tolist() == [3, 1, 2]


def test_several_targets_per_image() -> None:
    reader, images = class_reader((KIND, MARKS)), samples((2, 3, 4), (), (0, 4))
    assert [reader.read(sample, place(), IMAGE, None) for sample in images] == [(2, 3, 4), (), (0, 4)]
    sets = reader.join([(2, 3, 4), (), (0, 4)])
    assert isinstance(sets, ClassSets)
    assert sets.numbers.tolist() == [[2, 3, 4], [-1, -1, -1], [0, 4, -1]]
    assert sets.map_tensors(lambda tensor: tensor[:1]).numbers.tolist() == [[2, 3, 4]]


def test_padding_is_minus_one() -> None:
    assert padded([(1,), (2, 3)]).tolist() == [[1, -1], [2, 3]]
    assert (padded([(), ()]).shape, padded([()]).dtype) == ((2, 0), torch.int64)


def test_strata_are_the_classes_of_the_first_target_with_one_class() -> None:
    images = samples((1, 3), (2,), (4,))
    assert [class_reader((KIND, MARKS)).stratum(sample) for sample in images] == [1, 2, -1]
    # Behind the two marks, the kinds count from 2.
    images = samples((0, 3), (1, 2), (4,))
    assert [class_reader((MARKS, KIND)).stratum(sample) for sample in images] == [1, 0, 2]
    assert [class_reader((MARKS,)).stratum(sample) for sample in samples((0,), (1,), ())] == [0, 0, 0]


def test_classes_are_matched_by_name() -> None:
    data, config = dataset(classes=("dog", "cat")), run(classes=("cat", "dog", "owl"))
    matched = match_classes(DATA, data, samples(0, 1, 0), config)
    assert matched == samples(1, 0, 1)
    with pytest.raises(DataError, match=r"data\.csv: the run has no class 'fox'; it was trained on cat, dog, owl"):
        match_classes(DATA, dataset(classes=("cat", "fox")), samples(0, 1), config)
    # A class that no chosen image has does not matter.
    assert match_classes(DATA, dataset(classes=("cat", "fox")), samples(0), config) == samples(0)


def test_targets_are_matched_by_name_and_other_columns_are_ignored() -> None:
    other = Target("size", "single-label", ("small", "large"))
    kind, marks = Target("kind", "single-label", ("owl", "dog")), Target("marks", "multi-label", ("b",))
    data, config = dataset(marks, other, kind), run(KIND, MARKS)
    # b; small; owl: classes 4 and 2 of the run. No mark; large; dog: class 1.
    assert match_classes(DATA, data, samples((0, 1, 3), (2, 4)), config) == samples((2, 4), (1,))
    with pytest.raises(DataError, match=r"data\.csv: has no column labels:marks, which the run was trained on"):
        match_classes(DATA, dataset(kind), samples((0,)), config)
    strange = Target("marks", "multi-label", ("b", "c"))
    with pytest.raises(DataError, match="the run has no class 'c'; it was trained on a, b"):
        match_classes(DATA, dataset(kind, strange), samples((0, 3)), config)


def test_targets_and_single_classes_are_not_mixed_up() -> None:
    with pytest.raises(DataError, match="has the columns label:kind, labels:marks, the run was trained on one class"):
        match_classes(DATA, dataset(KIND, MARKS), samples((0,)), run(classes=("cat", "dog")))
    with pytest.raises(DataError, match="has no column label:kind, which the run was trained on"):
        match_classes(DATA, dataset(classes=("cat", "dog")), samples(0), run(KIND, MARKS))


def test_names_in_another_unicode_form_match() -> None:
    """Earlier versions kept names in the form in which they were stored."""
    old, new = "Ka\u0308se", "K\u00e4se"
    chosen = samples(1, 0)
    matched = match_classes(DATA, dataset(classes=("Brot", new)), chosen, run(classes=("Brot", old)))
    assert [sample.target for sample in matched] == [1, 0]
    wanted = Target(new, "multi-label", ("Brot", new))
    matched = match_classes(DATA, dataset(wanted), samples((0, 1), ()), run(Target(old, "multi-label", ("Brot", old))))
    assert [sample.target for sample in matched] == [(0, 1), ()]
