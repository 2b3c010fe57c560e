"""From what the user asked for to a run that can start: everything that can be wrong is found here, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import Dataset, load_dataset
from fitcli.data.dataset_changes import describe_changes
from fitcli.data.survey import image_sizes, survey_images
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.errors import CheckpointError, FitError
from fitcli.files.leftovers import is_leftover
from fitcli.files.output_checks import check_output_folder
from fitcli.runs.config import RunConfig, is_run
from fitcli.runs.targets import Target
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.load import expect_task
from fitcli.tasks.registry import find_task, refuse_options
from fitcli.training.checkpointing.run_lock import LOCK
from fitcli.training.checkpointing.run_record import TRAINING, check_config, load_images, load_settings
from fitcli.training.checkpointing.saved_states import saved_step
from fitcli.training.execution_choice import continued, planned
from fitcli.training.start_options import Launch
from models.checks import ConfigError

OLD_STATE = f"{TRAINING}/state.pt"
"""Where versions before `states.py` kept the only state."""


def prepare(settings: TrainSettings, launch: Launch) -> tuple[TrainingRun, int]:
    """Check data, run folder and settings, and put the run together. Writes nothing.

    Args:
        settings: What is asked for; of a run that is resumed, the options that were given count.
        launch: On what, where, and how to go on.

    Returns:
        The run, and the number of steps that it has already done.

    Raises:
        DataError: The data set cannot be used.
        FitError: The folder is taken, or holds no run to resume, or one begun otherwise; or the batches of the run
            cannot be shared evenly by that many processes; or there is no such preset, or not with such patches.
    """
    _check_folder(launch.folder, launch.resume)
    if launch.resume:
        run, sizes = _resumed(settings, launch)
        memory = launch.memory_bytes
        return continued(run, sizes) if memory is None else planned(run, sizes, memory), saved_step(launch.folder)
    if launch.accept_changed_data:
        raise FitError("--accept-changed-data is for --resume; leave it out")
    task = find_task(settings.task)
    refuse_options(settings.task, set(launch.given))
    _check_share(settings, launch)
    # The settings first: a wrong name should not wait for thousands of headers.
    try:
        task.check(settings)
    except ConfigError as error:
        patch = "" if settings.patch is None else f" --patch {settings.patch}"
        raise FitError(f"--preset {settings.preset}{patch}: {error}") from None
    if settings.start_from is not None:
        _check_start(Path(settings.start_from), settings)
    dataset = _dataset(launch.data, settings)
    survey = survey_images(dataset, settings.seed, settings.max_bad_images)
    run = _run(task.describe(settings, dataset, survey), settings, dataset, launch.runtime, launch)
    return planned(run, survey.sizes, launch.memory_bytes), 0


def _resumed(settings: TrainSettings, launch: Launch) -> tuple[TrainingRun, list[tuple[int, int]]]:
    """A run to be continued, and (height, width) of its images."""
    data, folder = launch.data, launch.folder
    config, settings = check_config(folder), load_settings(folder).resumed(settings, launch.given)
    _check_share(settings, launch)
    runtime = choose_runtime(str(launch.runtime.device), settings.precision)
    runtime = replace(runtime, compiled=launch.runtime.compiled)
    dataset = _dataset(data, settings)
    if config.task != settings.task:
        raise FitError(f"{folder}: config.json is of another run ({config.task}); start a new run")
    if (dataset.classes, dataset.targets) != (config.classes, config.targets):
        raise FitError(
            f"{folder}: was trained on {_questions(config.classes, config.targets)}; "
            f"{data} has {_questions(dataset.classes, dataset.targets)}; start a new run for these"
        )
    fingerprint, images = load_images(folder)
    changed = describe_changes(images, dataset.listed) if dataset.fingerprint != fingerprint else ""
    if changed and not launch.accept_changed_data:
        raise FitError(
            f"{data}: is not what {folder} was trained on: {changed}; resume with the data set as it was, go on with "
            "this one with --accept-changed-data, or start a new run"
        )
    return replace(_run(config, settings, dataset, runtime, launch), changed=changed), image_sizes(dataset)


def _questions(classes: Sequence[str], targets: Sequence[Target]) -> str:
    """The classes of a data set or a run, as text."""
    if targets:
        return "; ".join(f"{target.column}: {', '.join(target.classes)}" for target in targets)
    return ", ".join(classes) or "no classes"


def _dataset(data: Path, settings: TrainSettings) -> Dataset:
    task = find_task(settings.task)
    labels = "ignored" if settings.options.ignores_classes else task.labels
    return load_dataset(data, labels, several=task.several_targets)


def _run(config: RunConfig, settings: TrainSettings, dataset: Dataset, runtime: Runtime, launch: Launch) -> TrainingRun:
    return TrainingRun(
        folder=launch.folder,
        config=config,
        settings=settings,
        dataset=dataset,
        runtime=runtime,
        bad_images=BadImages(settings.max_bad_images),
        world=launch.world,
        shard=launch.shard,
        deadline=launch.deadline,
    )


def _check_share(settings: TrainSettings, launch: Launch) -> None:
    """Batches are those of one process, whatever shares them: so are the results."""
    count = launch.world.data.size
    if settings.batch_size % count:
        raise FitError(
            f"--batch-size {settings.batch_size}: {count} processes cannot share a batch evenly; "
            f"use a multiple of {count}, or another number of processes"
        )
    if launch.shard and launch.world.mesh is None:
        raise FitError("--shard shares a model out over processes; start them with torchrun --no-python fit train ...")


def _check_start(folder: Path, settings: TrainSettings) -> None:
    try:
        expect_task(folder, settings.task)
    except CheckpointError as error:
        raise CheckpointError(f"--start-from {error}") from None


def _check_folder(folder: Path, resume: bool) -> None:
    _check_state(folder, resume)
    check_output_folder("--out", folder)


def _check_state(folder: Path, resume: bool) -> None:
    if resume:
        if not is_run(folder):
            raise FitError(f"{folder}: no run to resume; start one without --resume")
        if (folder / OLD_STATE).is_file():
            raise FitError(f"{folder}: was begun with an older fit, which saved otherwise; start a new run")
        return
    if is_run(folder):
        raise FitError(f"{folder}: holds a run already; continue it with --resume, or choose another --out")
    if folder.exists() and not _is_free(folder):
        raise FitError(f"{folder}: is not an empty folder; choose another --out")
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not parent.is_dir():
        raise FitError(f"{folder}: cannot be made, {parent} is a file; choose another --out")


def _is_free(folder: Path) -> bool:
    """Whether a folder is empty, or holds no more than a run whose process died before it was one."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not is_leftover(path)}
    return not names or (names == {TRAINING} and (folder / LOCK).is_file())
