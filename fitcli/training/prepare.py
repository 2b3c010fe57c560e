"""Prepares a run from settings, a data set and a run folder. It finds mistakes of the user before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fitcli import __version__
from fitcli.data.background_check import check_background
from fitcli.data.bad_images import BadImages
from fitcli.data.class_names import composed
from fitcli.data.csv_listing import IN_FILES, Labels, Listing
from fitcli.data.dataset import Dataset, list_images, load_dataset
from fitcli.data.dataset_changes import describe_changes, describe_edits
from fitcli.data.description import describe_dataset, warn_of_names
from fitcli.data.label_digests import label_digests
from fitcli.data.pixel_digest import anchor_digest, pixel_digests
from fitcli.data.splitting import Splitting
from fitcli.data.survey import Survey, describe_pixels, image_sizes, survey_images
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.distributed.agreement import digest, require_agreement
from fitcli.errors import CheckpointError, FitError
from fitcli.files.leftovers import is_leftover
from fitcli.files.output_checks import check_output_folder
from fitcli.images.read_as import ReadAs
from fitcli.images.scale import scale_text, warn_of_mixed_scales
from fitcli.runs.augmentations import augmentations_of
from fitcli.runs.config import RunConfig, config_document, is_run
from fitcli.runs.start_checks import check_start
from fitcli.runs.targets import Target
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.load import expect_task, load_config
from fitcli.tasks.presets import chosen_preset
from fitcli.tasks.registry import TASKS, find_task, refuse_options, task_options
from fitcli.training.checkpointing.run_lock import LOCK
from fitcli.training.checkpointing.run_record import (
    TRAINING,
    check_config,
    load_images,
    load_label_digests,
    load_settings,
)
from fitcli.training.checkpointing.saved_states import saved_step
from fitcli.training.compile_choice import compile_if_it_pays
from fitcli.training.execution_choice import with_plan, with_saved_plan
from fitcli.training.start_options import StartOptions

OLD_STATE = f"{TRAINING}/state.pt"
"""File in which early versions of fit kept the only state."""


def prepare(settings: TrainSettings, start: StartOptions) -> tuple[TrainingRun, int]:
    """Check data set, run folder and settings, and build the run. Write nothing.

    Args:
        settings: Settings from the command line; see `TrainSettings.resumed` for a resumed run.
        start: Data set, run folder, device, and whether to resume.

    Returns:
        The run, and the number of steps that are already done.

    Raises:
        DataError: The data set is missing or unfit for training.
        FitError: The folder is not free, or has no run to resume, or a run with other settings or data; or the
            processes cannot share a batch evenly; or the preset is unknown or does not fit the patch size.
    """
    _compare_start(settings, start)
    _check_folder(start.folder, start.resume)
    if start.resume:
        run, sizes = _resumed(settings, start)
        _compare_data(run, sizes)
        done, memory = saved_step(start.folder), start.memory_bytes
        planned = None if memory is None else partial(with_plan, sizes=sizes, memory_bytes=memory)
        run = with_saved_plan(run, sizes) if planned is None else planned(run)
        return (compile_if_it_pays(run, run.total_steps - done, planned) if start.compile_if_it_pays else run), done
    if start.accept_changed_data:
        raise FitError("--accept-changed-data is for --resume; leave it out")
    task = find_task(settings.task)
    refuse_options(settings.task, set(start.given))
    _check_share(settings, start)
    # Check the settings before thousands of headers are read.
    names_preset = partial(
        chosen_preset, task_options()[settings.task].preset_group, settings.preset, settings.model_changes
    )
    with names_preset():
        task.check(settings)
    if settings.start_from is not None:
        _check_start(Path(settings.start_from), settings)
    dataset = task.survey_targets(settings, find_dataset(start, settings))
    how = ReadAs(**settings.reading)
    survey = survey_images(dataset, settings.seed, settings.max_bad_images, how)
    with names_preset():
        described = task.describe(settings, dataset, survey)
    run = _run(_with_extent(described, settings, survey), settings, dataset, start.runtime, start)
    _compare_data(run, survey.sizes)
    understood = survey.pixels(), *describe_dataset(dataset), scale_text(survey.scales)
    if settings.start_from is not None:
        folder = Path(settings.start_from)
        understood = *understood, *check_start(folder, load_config(folder), run.config, settings.model_changes)
    alike = filter(None, (warn_of_names(dataset), warn_of_mixed_scales(survey.scales)))
    background = check_background(dataset, task.objective(run).reading)
    warnings = (*(f"{start.data}: {text}" for text in alike), *survey.warnings, *dataset.warnings, *background)
    run = replace(run, understood=understood, warnings=warnings)
    planned = partial(with_plan, sizes=survey.sizes, memory_bytes=start.memory_bytes)
    run = planned(run)
    return (compile_if_it_pays(run, run.total_steps, planned) if start.compile_if_it_pays else run), 0


def _with_extent(config: RunConfig, settings: TrainSettings, survey: Survey) -> RunConfig:
    """Return a config that says how large the images are, and of which scales, enlarged and reduced ones included.

    Raises:
        FitError: The images cannot be augmented as the user wants.
    """
    pixels, augmentations = config.preprocessing, augmentations_of(settings.augment)
    if reason := augmentations.unsuited(pixels.channels, pixels.features):
        raise FitError(f"--augment: {reason}")
    sides, scales = survey.trained_sides(settings.size), survey.trained_scales()
    if scales is not None and augmentations.scale:
        scales = scales[0] / (1 + augmentations.scale), scales[1] * (1 + augmentations.scale)
    return replace(config, preprocessing=replace(pixels, trained_sides=sides, trained_scales=scales))


def _compare_start(settings: TrainSettings, start: StartOptions) -> None:
    """Compare versions and options over all processes; collective."""
    facts: dict[str, Any] = {"the version of fit": __version__, "the version of torch": torch.__version__}
    facts |= {f"--{name.replace('_', '-')}": value for name, value in settings.as_dict().items()}
    facts |= {"--resume": start.resume, "--shard": start.shard, "--accept-changed-data": start.accept_changed_data}
    facts |= {"the given options": sorted(start.given)}
    require_agreement(start.world, facts, "start the same fit with the same options on all machines")


def _compare_data(run: TrainingRun, sizes: Sequence[tuple[int, int]]) -> None:
    """Compare the data set over all processes; collective."""
    preprocessing = run.config.preprocessing
    facts = {
        "the number of images": len(run.dataset.listed),
        "the names, labels and splits of the images": digest([run.dataset.fingerprint, run.dataset.listed]),
        "the sizes of the images": digest(sizes),
        "the positions that windows are drawn around": anchor_digest(run.dataset),
        "the mean and deviation of the pixels": [preprocessing.mean, preprocessing.std],
        "config.json": digest(config_document(run.config)),
    }
    if run.world.size > 1:
        pixels = pixel_digests(run.dataset, run.settings.seed, preprocessing.read_as)
        facts |= {f"the pixels of {name}": value for name, value in pixels.items()}
    require_agreement(run.world, facts, "give all machines the same data and run folder")


def _resumed(settings: TrainSettings, start: StartOptions) -> tuple[TrainingRun, list[tuple[int, int]]]:
    """Return a run to continue, and (height, width) of its images."""
    data, folder = start.data, start.folder
    config, settings = check_config(folder), load_settings(folder).resumed(settings, start.given)
    refuse_options(settings.task, set(start.given))
    _check_share(settings, start)
    runtime = choose_runtime(str(start.runtime.device), settings.precision)
    runtime = replace(runtime, compiled=start.runtime.compiled)
    dataset = find_dataset(start, settings)
    if config.task != settings.task:
        raise FitError(f"{folder}: config.json belongs to another run, of task {config.task}; start a new run")
    names_classes = find_task(settings.task).labels not in IN_FILES
    if names_classes and _class_names(dataset.classes, dataset.targets) != _class_names(config.classes, config.targets):
        raise FitError(
            f"{folder}: was trained on {_targets_text(config.classes, config.targets)}; "
            f"{data} has {_targets_text(dataset.classes, dataset.targets)}; start a new run for these"
        )
    fingerprint, images = load_images(folder)
    edits = describe_edits(load_label_digests(folder), label_digests(dataset.label_files))
    changes = describe_changes(images, dataset.listed) if dataset.fingerprint != fingerprint else ""
    changed = ", ".join(filter(None, (changes, edits)))
    if changed and not start.accept_changed_data:
        raise FitError(
            f"{data}: is not what {folder} was trained on: {changed}; resume with the data set as it was, go on with "
            "this one with --accept-changed-data, or start a new run"
        )
    dataset = find_task(settings.task).resume_targets(settings, dataset, config)
    pixels = config.preprocessing
    scale = () if pixels.mpp is None else (scale_text([pixels.mpp]),)
    understood = describe_pixels(pixels), *describe_dataset(dataset), *scale
    run = replace(_run(config, settings, dataset, runtime, start), changed=changed, understood=understood)
    return run, image_sizes(dataset, config.preprocessing.read_as)


def _class_names(classes: Sequence[str], targets: Sequence[Target]) -> list[list[str]]:
    """Return the names of the classes and targets in one Unicode form; earlier versions kept others."""
    return [[composed(name) for name in (*target.classes, target.column)] for target in targets] or [
        [composed(name) for name in classes]
    ]


def _targets_text(classes: Sequence[str], targets: Sequence[Target]) -> str:
    """Return the classes of a data set or a run as text."""
    if targets:
        return "; ".join(": ".join(filter(None, (t.column, ", ".join(t.classes)))) for t in targets)
    return ", ".join(classes) or "no classes"


def find_dataset(start: StartOptions, settings: TrainSettings) -> Dataset:
    """Return the images to train on, with their splits.

    Raises:
        DataError: The data set is unfit for training.
    """
    splitting = Splitting(settings.folds, settings.fold, settings.group_by, settings.folds_by)
    task, labels = find_task(settings.task), _labels(settings)
    return load_dataset(
        start.data, labels, several=task.several_targets, splitting=splitting, images=start.images,
        kinds=task.target_kinds,
    )  # fmt: skip


def list_dataset(start: StartOptions, settings: TrainSettings) -> Listing:
    """Return the images that the data set lists, with no other splits than those that it names.

    Raises:
        DataError: The data set is unfit for training.
    """
    task = find_task(settings.task)
    return list_images(
        start.data, _labels(settings), several=task.several_targets, group_by=settings.group_by, images=start.images,
        kinds=task.target_kinds,
    )  # fmt: skip


def _labels(settings: TrainSettings) -> Labels:
    return "ignored" if settings.options.ignores_classes else find_task(settings.task).labels


def _run(
    config: RunConfig, settings: TrainSettings, dataset: Dataset, runtime: Runtime, start: StartOptions
) -> TrainingRun:
    return TrainingRun(
        folder=start.folder,
        config=config,
        settings=settings,
        dataset=dataset,
        runtime=runtime,
        bad_images=BadImages(settings.max_bad_images),
        world=start.world,
        shard=start.shard,
        deadline=start.deadline,
        workers=start.workers,
        report=start.report,
    )


def _check_share(settings: TrainSettings, start: StartOptions) -> None:
    """Refuse a batch size that the processes cannot share evenly: batches must not depend on their number."""
    count = start.world.data.size
    if settings.batch_size % count:
        raise FitError(
            f"--batch-size {settings.batch_size}: {count} processes cannot share a batch evenly; "
            f"use a multiple of {count}, or another number of processes"
        )
    if start.shard and start.world.mesh is None:
        raise FitError("--shard needs several processes; start them with torchrun --no-python fit train ...")


def _check_start(folder: Path, settings: TrainSettings) -> None:
    own = find_task(settings.task)
    possible = (task for task in TASKS if own.can_start_from(find_task(task)))
    try:
        expect_task(folder, *possible)
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
            raise FitError(
                f"{folder}: was begun with an older fit, whose saved states are not readable any more; start a new run"
            )
        return
    if is_run(folder):
        raise FitError(f"{folder}: holds a run already; continue it with --resume, or choose another --out")
    if folder.exists() and not _is_free(folder):
        raise FitError(f"{folder}: is not an empty folder; choose another --out")
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not parent.is_dir():
        raise FitError(f"{folder}: cannot be made, because {parent} is a file; choose another --out")


def _is_free(folder: Path) -> bool:
    """Return whether a folder is empty, or holds only the remains of a process that died before it saved a run."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not is_leftover(path)}
    return not names or (names == {TRAINING} and (folder / LOCK).is_file())
