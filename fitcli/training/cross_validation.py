"""Trains one run per fold of a data set, each in a folder of its own, and sums up their validation.

    RUN/fold-1, RUN/fold-2, ...     the runs, as any other
    RUN/cross-validation.json       which folds are finished, their scores, means and intervals

A fold that is finished is not trained again; one that was interrupted continues.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fitcli.data.csv_listing import IN_FILES
from fitcli.data.folds import check_dealing, check_fold_column
from fitcli.data.splitting import fold_numbers
from fitcli.errors import CheckpointError, DataError, FitError
from fitcli.files.publish import write_text
from fitcli.runs.config import is_run
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import find_task
from fitcli.training.checkpointing.run_description import best_report
from fitcli.training.checkpointing.run_record import load_fingerprint, load_settings
from fitcli.training.checkpointing.saved_states import saved_step
from fitcli.training.checkpointing.saver import saving
from fitcli.training.prepare import find_dataset, list_dataset
from fitcli.training.start_options import StartOptions
from fitcli.training.stop_requests import TimeLimitReached

SUMMARY = "cross-validation.json"
"""File of the scores of all folds."""

OPTION = "--cross-validate"
"""The option, for messages."""

CONFIDENCE = 0.95
"""Confidence of the interval of a mean."""

T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""Quantiles 0.975 of Student's t distribution with 1, 2, ... degrees of freedom."""

NORMAL_QUANTILE = 1.96
"""Quantile 0.975 of the normal distribution, for more degrees of freedom."""

TrainFold = Callable[[TrainSettings, StartOptions], bool]
"""Trains a run to its end; returns False if the time was over before."""

Entry = dict[str, Any]
"""A finished fold, as in the file."""


def cross_validate(
    settings: TrainSettings, start: StartOptions, folds: int, continues: bool, train_fold: TrainFold
) -> dict[str, Any] | None:
    """Train all folds that are not finished.

    Args:
        settings: Settings of the runs, without a fold.
        start: Options of the start; `folder` is that of all folds.
        folds: Number of folds.
        continues: Whether to continue what is in the folder.
        train_fold: Trains one fold.

    Returns:
        The contents of `SUMMARY`; None if the time was over before the end of a fold.

    Raises:
        FitError: The folder is not free, or has other folds; or a fold cannot be trained.
        TimeLimitReached: The deadline has passed between two folds.
    """
    world, folder = start.world, start.folder
    numbers, dealt = world.run_on_all(lambda: _numbers(settings, start, folds))
    finished: dict[int, Entry] = world.broadcast(_finished(folder))
    runs = world.broadcast(_runs(folder))
    world.run_on_all(lambda: _check_folder(folder, numbers, dealt, runs, continues))
    if runs:
        # Folds that have not begun take the settings of those that have, as a plain run does that is resumed.
        settings = world.run_on_all(lambda: load_settings(folder / runs[0]).resumed(settings, start.given))
    own_settings = {number: replace(settings, folds=folds if dealt else None, fold=number) for number in numbers}
    if not runs:
        world.run_on_all(lambda: _check_folds(start, own_settings.values()))
    trained = False
    for number in numbers:
        own = own_settings[number]
        fold = folder / f"fold-{number}"
        # A name counts as given, so that a resumed fold with other folds is refused.
        own_start = replace(
            start, folder=fold, resume=world.broadcast(is_run(fold)), given={*start.given, "folds", "fold"}
        )
        if world.broadcast(number in finished and _is_whole(own, own_start, finished[number])):
            continue
        # Every start does at least one step, even after its deadline.
        if trained and world.any(time.monotonic() > start.deadline):
            raise TimeLimitReached(
                f"{folder}: {len(finished)} of {folds} folds at the time limit; continue with --resume"
            )
        if not train_fold(own, own_start):
            return None
        trained = True
        finished[number] = _entry(number, fold, own_start, own)
        if world.is_first:
            with saving(folder):
                write_text(folder / SUMMARY, json.dumps(summary(folds, finished), indent=2) + "\n")
    return summary(folds, finished)


def summary(folds: int, finished: Mapping[int, Entry]) -> dict[str, Any]:
    """Return the scores of the finished folds, their means, and the 95 % intervals of the means.

    The interval is that of Student's t over the folds. It takes the folds as independent, although their training
    images overlap.
    """
    entries = [finished[number] for number in sorted(finished)]
    names = [name for name in (entries[0]["scores"] if entries else ()) if all(name in e["scores"] for e in entries)]
    values = {name: [float(each["scores"][name]) for each in entries] for name in names}
    return {
        "folds": folds,
        "runs": entries,
        "mean": {name: sum(each) / len(each) for name, each in values.items()},
        "interval": {name: interval(each) for name, each in values.items()},
        "confidence": CONFIDENCE,
    }


def interval(values: Sequence[float]) -> list[float] | None:
    """Return the ends of the 95 % interval of the mean; None for a single value."""
    count = len(values)
    if count < 2:
        return None
    mean = sum(values) / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    quantile = T_QUANTILES[count - 2] if count - 2 < len(T_QUANTILES) else NORMAL_QUANTILE
    half = quantile * deviation / math.sqrt(count)
    return [mean - half, mean + half]


def as_table(result: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of the table of a summary."""
    names = list(result["mean"])
    rows = [
        (f"{run['fold']}", f"{run['training_images']} + {run['validation_images']}", f"{run['step']}",
         *(f"{run['scores'][name]:.4f}" for name in names))
        for run in result["runs"]
    ]  # fmt: skip
    ends = (result["interval"][name] for name in names)
    rows.append(("mean", "", "", *(f"{result['mean'][name]:.4f}" for name in names)))
    rows.append(("95 %", "", "", *("-" if each is None else f"{each[0]:.4f} to {each[1]:.4f}" for each in ends)))
    return ("fold", "images", "step", *(name.replace("_", " ") for name in names)), rows


def _numbers(settings: TrainSettings, start: StartOptions, folds: int) -> tuple[list[int], bool]:
    """Return the numbers of the folds, and whether they are dealt: a column `fold` has its own.

    Raises:
        DataError: The data set has other folds, or cannot be dealt into so many.
    """
    listing = list_dataset(start, settings)
    numbers = fold_numbers(start.data, listing.rows)
    if not numbers:
        check_dealing(start.data, listing, folds, OPTION)
        return list(range(1, folds + 1)), True
    if len(numbers) == 1:
        raise DataError(
            f"{start.data}: has a single fold, {numbers[0]}, in its column fold, and {OPTION} takes two or more; name "
            "another one, or empty the column"
        )
    if len(numbers) != folds:
        raise DataError(
            f"{start.data}: has {len(numbers)} folds in its column fold, not {folds}; give {OPTION} {len(numbers)}"
        )
    check_fold_column(start.data, listing.rows)
    return numbers, False


def _check_folds(start: StartOptions, folds: Iterable[TrainSettings]) -> None:
    """Find the images of each fold before the first is trained: one that cannot be trained is found at once.

    Folds of labels in files always have the same classes, and are dealt by reading all labels: these are left out.

    Raises:
        DataError: A fold cannot be trained.
    """
    for settings in folds:
        if find_task(settings.task).labels in IN_FILES:
            continue
        try:
            find_dataset(start, settings)
        except DataError as error:
            # An error of folds that are dealt speaks of all of them.
            raise error if settings.folds else DataError(f"{error}; fold {settings.fold} holds out all") from None


def _runs(folder: Path) -> list[str]:
    found = [path.name for path in folder.glob("fold-*") if is_run(path)] if folder.is_dir() else []
    return [*(["config.json"] if is_run(folder) else []), *sorted(found)]


def _check_folder(folder: Path, numbers: Sequence[int], dealt: bool, runs: Sequence[str], continues: bool) -> None:
    if "config.json" in runs:
        raise FitError(f"{folder}: holds a run, not the folds of --cross-validate; choose another --out")
    if runs and not continues:
        raise FitError(f"{folder}: holds {', '.join(runs)} already; continue with --resume, or choose another --out")
    if runs and dealt:
        _check_begun(folder, runs, len(numbers))
    if strange := [name for name in runs if name not in {f"fold-{number}" for number in numbers}]:
        raise FitError(f"{folder}: holds {strange[0]} of other folds; give their number, or choose another --out")


def _check_begun(folder: Path, runs: Sequence[str], folds: int) -> None:
    """Refuse another number of folds than that of the first runs."""
    try:
        begun = load_settings(folder / runs[0]).folds
    except CheckpointError:
        return  # The fold itself says what is wrong.
    if begun is None:
        raise FitError(
            f"{folder}: was begun with the folds of a column fold; restore the column, or choose another --out"
        )
    if begun != folds:
        raise FitError(
            f"{folder}: was begun with {OPTION} {begun}, not {folds}; give {OPTION} {begun}, or choose another --out"
        )


def _finished(folder: Path) -> dict[int, Entry]:
    """Return the finished folds by number; those whose entry cannot be read are trained or resumed."""
    try:
        document = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return {int(entry["fold"]): entry for entry in document["runs"] if isinstance(entry["scores"], dict)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_whole(settings: TrainSettings, start: StartOptions, entry: Entry) -> bool:
    """Return whether a fold has all steps that are asked for, on the same data."""
    try:
        own = load_settings(start.folder).resumed(settings, start.given)
        dataset = find_dataset(start, own)
        total = own.total_steps(len(dataset.train))
        return load_fingerprint(start.folder) == dataset.fingerprint and entry["step"] == total == saved_step(
            start.folder
        )
    except CheckpointError:
        return False


def _entry(number: int, folder: Path, start: StartOptions, settings: TrainSettings) -> Entry:
    best = best_report(folder) or {}
    dataset = find_dataset(start, settings)
    scores = {name: value for name, value in best.items() if name != "step" and isinstance(value, int | float)}
    return {
        "fold": number,
        "folder": folder.name,
        "training_images": len(dataset.train),
        "validation_images": len(dataset.validation),
        "step": saved_step(folder),
        "best_step": best.get("step"),
        "scores": scores,
    }
