"""What a run was begun with: its settings, its model, and the images of its data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.data.dataset import Dataset, Listed
from fitcli.errors import CheckpointError, FitError
from fitcli.files.publish import write_text
from fitcli.runs.config import RunConfig, config_document, is_run, save_config
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.load import load_config
from fitcli.tasks.registry import DEFAULT_TASK, task_options, train_settings

TRAINING = "training"
"""What resuming needs, within the folder of a run."""

SETTINGS, IMAGES = f"{TRAINING}/settings.json", f"{TRAINING}/dataset.json"


def save_begun(run: Path, settings: TrainSettings, config: RunConfig, dataset: Dataset) -> None:
    """Remember what the run is asked to do, and with what.

    Raises:
        OSError: That cannot be written.
    """
    (run / TRAINING).mkdir(exist_ok=True)
    save_settings(run, settings)
    save_config(run / TRAINING, config)
    # As ASCII: names of files need not be text.
    document = {"fingerprint": dataset.fingerprint, "images": dataset.listed}
    write_text(run / IMAGES, json.dumps(document, separators=(",", ":")) + "\n")


def save_settings(run: Path, settings: TrainSettings) -> None:
    """Remember what the run is asked to do."""
    (run / TRAINING).mkdir(exist_ok=True)
    document = {"fit": __version__, **settings.as_dict()}
    write_text(run / SETTINGS, json.dumps(document, indent=2) + "\n")


def load_settings(run: Path) -> TrainSettings:
    """What the run was asked to do.

    Raises:
        CheckpointError: That is not to be found out.
    """
    path, writer = run / SETTINGS, __version__
    try:
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
        writer = str(stored.pop("fit", __version__))
        stored.pop("dataset", None)
        task = str(stored.pop("task", DEFAULT_TASK))
        # Earlier versions stored the options of all tasks.
        for options in task_options().values():
            stored = options.upgraded(stored)
        return train_settings(task, **stored)
    except (OSError, ValueError, TypeError, KeyError, FitError) as error:
        if writer != __version__:
            raise CheckpointError(
                f"{path}: was written by fit {writer}, this is fit {__version__} ({error}); install fit {writer}"
            ) from None
        raise CheckpointError(f"{path}: cannot be read ({error}); start a new run") from None


def load_fingerprint(run: Path) -> str:
    """The fingerprint of the data set that the run was trained on last.

    Raises:
        CheckpointError: That is not to be found out.
    """
    if not (run / IMAGES).is_file():
        # Versions before kept it with the settings.
        try:
            return str(json.loads((run / SETTINGS).read_text(encoding="utf-8"))["dataset"])
        except (OSError, ValueError, TypeError, KeyError):
            pass
    return load_images(run)[0]


def load_images(run: Path) -> tuple[str, list[Listed]]:
    """The fingerprint of the data set that the run was trained on last, and its images.

    Raises:
        CheckpointError: That is not to be found out.
    """
    path = run / IMAGES
    try:
        document = dict(json.loads(path.read_text(encoding="ascii")))
        images = [(str(name), str(label), str(split)) for name, label, split in document["images"]]
        return str(document["fingerprint"]), images
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); start a new run") from None


def check_config(run: Path) -> RunConfig:
    """What `config.json` of a run says, which is to be what it said when the run was begun.

    Raises:
        CheckpointError: It was changed since, or cannot be read.
    """
    config = load_config(run)
    # Where that copy is gone, the tensors of the states still have to fit.
    if not is_run(run / TRAINING):
        return config
    before, now = (_flat(config_document(each)) for each in (load_config(run / TRAINING), config))
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    if changed:
        # Hundreds of classes need not be read on one line.
        said = ", ".join(f"{name} is {now.get(name)!s:.80}, was {before.get(name)!s:.80}" for name in changed)
        raise CheckpointError(
            f"{run}/config.json: was changed since the run was begun ({said}); put it back as it is in "
            f"{run / TRAINING}/config.json, or start a new run"
        )
    return config


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Names like `model.latents`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
