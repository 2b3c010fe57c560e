"""Matches the answers of a data set to the targets of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fitcli.data.class_names import composed
from fitcli.data.dataset import Dataset, Sample
from fitcli.errors import DataError
from fitcli.runs.config import RunConfig
from fitcli.tasks.class_targets import match_classes
from fitcli.tasks.classify.targets.kinds import kind_of


def match_answers(data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
    """Return samples with their answers in the numbers of a run.

    Targets are matched by name. Columns that the run was not trained on are ignored.

    Args:
        data: The data set, for messages.
        dataset: The loaded data set.
        chosen: Samples of the data set.
        config: The run.

    Raises:
        DataError: A column of the run is missing, or the run does not have a class of the samples.
    """
    if not (config.targets or dataset.targets):
        return match_classes(data, dataset, chosen, config)
    own = {(composed(target.name), target.kind): number for number, target in enumerate(dataset.targets)}
    # A run with one class per image has one target, called "label".
    asked = [(target, own.get((composed(target.name), target.kind))) for target in config.class_targets]
    wanted = [(target, column) for target, column in asked if column is not None]
    if len(wanted) < len(asked) and not config.targets:
        columns = ", ".join(target.column for target in dataset.targets)
        raise DataError(f"{data}: has the columns {columns}, the run was trained on one class per image: column label")
    if missing := [" and ".join(kind_of(target).headings(target)) for target, column in asked if column is None]:
        raise DataError(f"{data}: has no column {missing[0]}, which the run was trained on")
    samples = []
    for sample in chosen:
        answers = tuple(
            kind_of(target).match(data, dataset.targets[column], target, sample.target[column])
            for target, column in wanted
        )
        samples.append(replace(sample, target=answers if config.targets else int(answers[0][0])))
    return samples
