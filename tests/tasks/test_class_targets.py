"""Classes as targets: how they are read, joined, spread over batches, and matched to the classes of a run."""

from __future__ import annotations

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
from fitcli.tasks.class_targets import ClassLabelReader, ClassLabels, match_classes
from fitcli.tasks.classify.config import ClassifyDetails
from models.presets import classifier_preset

DATA = Path("data.csv")
IMAGE = ArrayReader(torch.zeros(8, 8, 1, dtype=torch.uint8).numpy())


def samples(*targets: Any) -> list[Sample]:
    return [Sample(Path(f"{number}.png"), target) for number, target in enumerate(targets)]


def place() -> Place:
    return draw_place(IMAGE, Layout(patch=4, group=2), PlaceRules(), 0, 0, Axis())


def dataset(classes: tuple[str, ...]) -> Dataset:
    return Dataset(classes=classes, train=(), validation=(), fingerprint="")


def run(classes: tuple[str, ...]) -> RunConfig:
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    model = classifier_preset("debug", 1, len(classes))
    return RunConfig(model=model, preprocessing=pixels, classes=classes, details=ClassifyDetails())


def test_one_class_per_image() -> None:
    reader, images = ClassLabelReader(), samples(2, 0, 1)
    assert [reader.read(sample, place(), IMAGE, None) for sample in images] == [2, 0, 1]
    assert [reader.stratum(sample) for sample in images] == [2, 0, 1]
    labels = reader.join([2, 0, 1])
    assert isinstance(labels, ClassLabels)
    assert (labels.numbers.tolist(), labels.numbers.dtype) == ([2, 0, 1], torch.int64)
    assert labels.map_tensors(lambda tensor: tensor + 1).numbers.tolist() == [3, 1, 2]


def test_classes_are_matched_by_name() -> None:
    data, config = dataset(classes=("dog", "cat")), run(classes=("cat", "dog", "owl"))
    matched = match_classes(DATA, data, samples(0, 1, 0), config)
    assert matched == samples(1, 0, 1)
    with pytest.raises(DataError, match=r"data\.csv: the run has no class 'fox'; it was trained on cat, dog, owl"):
        match_classes(DATA, dataset(classes=("cat", "fox")), samples(0, 1), config)
    # A class that no chosen image has does not matter.
    assert match_classes(DATA, dataset(classes=("cat", "fox")), samples(0), config) == samples(0)


def test_names_in_another_unicode_form_match() -> None:
    """Earlier versions kept names in the form in which they were stored."""
    old, new = "Ka\u0308se", "K\u00e4se"
    chosen = samples(1, 0)
    matched = match_classes(DATA, dataset(classes=("Brot", new)), chosen, run(classes=("Brot", old)))
    assert [sample.target for sample in matched] == [1, 0]
