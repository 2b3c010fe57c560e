"""The record of a run, which a resumed run is checked against: settings, config, and the images of the data set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fitcli import __version__
from fitcli.data.class_names import composed
from fitcli.data.csv_listing import NO_GROUPS
from fitcli.data.dataset import Dataset, Listed
from fitcli.data.file_digest import file_digests
from fitcli.data.label_digests import label_digests
from fitcli.errors import CheckpointError, FitError
from fitcli.files.publish import write_text
from fitcli.runs.config import RunConfig, config_document, is_run, save_config
from fitcli.runs.option import OptionError
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.load import load_config
from fitcli.tasks.registry import DEFAULT_TASK, TASKS, find_task, task_options, train_settings

TRAINING = "training"
"""Folder within a run folder with all that resuming needs."""

SETTINGS, IMAGES = f"{TRAINING}/settings.json", f"{TRAINING}/dataset.json"


def save_record(run: Path, settings: TrainSettings, config: RunConfig, dataset: Dataset) -> None:
    """Write the record of a run.

    Raises:
        OSError: It cannot be written.
    """
    (run / TRAINING).mkdir(exist_ok=True)
    save_settings(run, settings)
    save_config(run / TRAINING, config)
    # ASCII escapes also encode file names that are not valid UTF-8.
    document: dict[str, Any] = {"fingerprint": dataset.fingerprint, "images": dataset.listed}
    if dataset.label_files:
        document["label_files"] = label_digests(dataset.label_files)
    if dataset.patients:
        document["patients"] = dataset.patients
    document["digests"] = _digests(run, dataset)
    write_text(run / IMAGES, json.dumps(document, separators=(",", ":")) + "\n")


def _digests(run: Path, dataset: Dataset) -> list[str]:
    """Return the digests of the listed images; those of an earlier start, if they are of the same images."""
    names = [name for name, _, _ in dataset.listed]
    try:
        before = load_trained_images(run)
        if [each.name for each in before] == names and any(each.digest for each in before):
            return [each.digest for each in before]
    except CheckpointError:
        pass
    digests = file_digests([*dataset.train, *dataset.validation])
    return [digests.get(name, "") for name in names]


def save_settings(run: Path, settings: TrainSettings) -> None:
    """Write the settings of a run."""
    (run / TRAINING).mkdir(exist_ok=True)
    document = {"fit": __version__, **settings.as_dict()}
    write_text(run / SETTINGS, json.dumps(document, indent=2) + "\n")


def load_settings(run: Path) -> TrainSettings:
    """Read the settings of a run.

    Raises:
        CheckpointError: The file is missing or damaged, or was written by another version of fit.
    """
    path, writer = run / SETTINGS, __version__
    try:
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
        writer = str(stored.pop("fit", __version__))
        stored.pop("dataset", None)
        task = stored.pop("task", DEFAULT_TASK)
        if task not in TASKS:
            raise OptionError("task", f"must be {', '.join(TASKS)}, not {task!r:.80}", "task")
        # Earlier versions stored the options of all tasks, under other names.
        for options in task_options().values():
            stored = options.upgraded(stored)
        if "group_by" not in stored and find_task(task).labels != "files":
            # Earlier versions did not read the column of patients.
            stored["group_by"] = NO_GROUPS
        # Earlier versions dealt folds of images with labels in files without looking at these.
        stored.setdefault("folds_by", "names")
        if "from_preset" not in stored:
            stored = task_options()[task].with_earlier_defaults(stored)
        return train_settings(task, **stored)
    except OptionError as error:
        if writer != __version__:
            raise _other_version(path, writer, error) from None
        raise CheckpointError(f"{path}: {error.name} {error.reason}; put the value back, or start a new run") from None
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError, FitError) as error:
        if writer != __version__:
            raise _other_version(path, writer, error) from None
        raise CheckpointError(f"{path}: cannot be read ({error}); start a new run") from None


def _other_version(path: Path, writer: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: was written by fit {writer}, this is fit {__version__} ({error}); install fit {writer}"
    )


def load_fingerprint(run: Path) -> str:
    """Read the fingerprint of the data set that a run was last trained on.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    if not (run / IMAGES).is_file():
        # Earlier versions kept it with the settings.
        try:
            return str(json.loads((run / SETTINGS).read_text(encoding="utf-8"))["dataset"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
    return load_images(run)[0]


def load_images(run: Path) -> tuple[str, list[Listed]]:
    """Read the fingerprint of the data set that a run was last trained on, and its images.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    path = run / IMAGES
    try:
        document = dict(json.loads(path.read_text(encoding="ascii")))
        images = [(str(name), str(label), str(split)) for name, label, split in document["images"]]
        return str(document["fingerprint"]), images
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); start a new run") from None


def load_label_digests(run: Path) -> dict[str, str]:
    """Read the digests of the files of labels that a run was last trained on; {} if it has none, as earlier runs.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    path = run / IMAGES
    try:
        return dict(json.loads(path.read_text(encoding="ascii")).get("label_files", {}))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); start a new run") from None


class TrainedImage(NamedTuple):
    """An image that a run was trained or validated on.

    Attributes:
        name: Name within its data set.
        split: "train" or "val".
        patient: Name of the patient; "" if it is not known.
        digest: Digest of the file; "" if it is not known.
    """

    name: str
    split: str
    patient: str
    digest: str


def load_trained_images(run: Path) -> list[TrainedImage]:
    """Read which images a run was last trained and validated on.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    _, images = load_images(run)
    document = json.loads((run / IMAGES).read_text(encoding="ascii"))
    further = []
    for key in ("patients", "digests"):
        values = document.get(key) or [""] * len(images)
        if not isinstance(values, list) or len(values) != len(images):
            raise CheckpointError(f"{run / IMAGES}: cannot be read ({key} do not match images); start a new run")
        further.append(map(str, values))
    return [
        TrainedImage(composed(name), split, patient, digest)
        for (name, _, split), patient, digest in zip(images, *further, strict=True)
    ]


def check_config(run: Path) -> RunConfig:
    """Read `config.json` of a run, and compare it with the copy in the record.

    Raises:
        CheckpointError: It differs from the copy, or cannot be read.
    """
    config = load_config(run)
    # Without a copy, loading a state still checks the shapes of its tensors.
    if not is_run(run / TRAINING):
        return config
    # Without the thresholds: they belong to the weights, which change during the run.
    config = replace(config, details=config.details.with_decisions({}))
    before, now = (_flat(config_document(each)) for each in (load_config(run / TRAINING), config))
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if changed:
        differences = ", ".join(f"{name} is {_entry(now, name)}, was {_entry(before, name)}" for name in changed)
        raise CheckpointError(
            f"{run}/config.json: was changed since the run was begun ({differences}); put it back as it is in "
            f"{run / TRAINING}/config.json, or start a new run"
        )
    return config


def _entry(values: dict[str, Any], name: str) -> str:
    """Return an entry as JSON of at most 80 characters, as there may be hundreds of classes."""
    return f"{json.dumps(values[name]):.80}" if name in values else "absent"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested entries, under names like `model.latents`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
