"""Which images of a data set `fit evaluate` scores, and how the training of a run took its images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fitcli.data.csv_listing import IN_FILES
from fitcli.data.dataset import Dataset, Sample, load_dataset
from fitcli.data.splitting import HELD_OUT, Splitting
from fitcli.errors import DataError, FitError
from fitcli.evaluation.trained_on import with_patients
from fitcli.runs.augmentations import augmentations_of
from fitcli.runs.config import RunConfig
from fitcli.tasks.class_targets import check_unit_labels
from fitcli.tasks.evaluation_result import Split
from fitcli.tasks.task import Task
from fitcli.training.checkpointing.run_record import load_settings


def chosen_images(
    data: Path, folder: Path, config: RunConfig, task: Task[Any], split: Split, images: Path | None, per: str | None
) -> tuple[Dataset, list[Sample]]:
    """Return a data set, and its images to score with targets in the numbers of a run; see `evaluate`.

    Raises:
        DataError: The data set is unusable, has no images in this split, or has classes that the run does not have.
        FitError: The task scores no patients.
    """
    labels = task.labels if task.labels in IN_FILES else "needed" if config.classes or config.targets else "ignored"
    dataset = load_dataset(
        data, labels, training=False, several=task.several_targets, splitting=_splitting(folder), images=images,
        kinds=task.target_kinds,
    )  # fmt: skip
    samples = task.match(data, dataset, _samples(data, dataset, split), config)
    if per is not None:
        if not task.scores_units:
            raise FitError(f"--per scores no runs of --task {config.task}, whose images have no classes; leave it out")
        samples = with_patients(data, samples, labels, per, images)
        if labels not in IN_FILES:
            check_unit_labels(data, samples, config)
    return dataset, samples


def refuse_replacing(samples: Sequence[Sample], *outputs: Path | None) -> None:
    """Raise FitError if an output file is one of the images."""
    targets = {os.path.realpath(path) for path in outputs if path is not None}
    if clash := next((sample.path for sample in samples if os.path.realpath(sample.path) in targets), None):
        raise FitError(f"{clash}: is an image of the data set and would be replaced; give another output file")


def was_turned(folder: Path) -> bool:
    """Return whether the training turned and mirrored images."""
    try:
        augment = load_settings(folder).augment
        return bool(augment) and augmentations_of(augment).flips > 0
    except FitError:
        return False


def was_trained_whole(folder: Path) -> bool:
    """Return whether the run was trained on whole images."""
    try:
        return load_settings(folder).size is None
    except FitError:
        return False


def _splitting(folder: Path) -> Splitting:
    """Return how the run split its images, so that the same are held out."""
    try:
        settings = load_settings(folder)
    except FitError:
        return HELD_OUT
    return Splitting(settings.folds, settings.fold, settings.group_by, settings.folds_by)


def _samples(data: Path, dataset: Dataset, split: Split) -> list[Sample]:
    """Return the images of a split.

    Raises:
        DataError: There are none.
    """
    splits = {"train": dataset.train, "val": dataset.validation, "test": dataset.test}
    chosen = [sample for name, samples in splits.items() if split in (name, "all") for sample in samples]
    if not chosen:
        counts = ", ".join(f"{len(samples)} {name}" for name, samples in splits.items())
        raise DataError(f"{data}: no images in --split {split} (it has {counts}); choose another")
    return chosen
