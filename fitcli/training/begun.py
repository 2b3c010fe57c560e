"""What a run was begun with: its settings, and the data set to train on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from fitcli.atomic import write_text
from fitcli.errors import CheckpointError, FitError
from fitcli.training.settings import TrainSettings

TRAINING = "training"
"""What resuming needs, within the folder of a run."""

SETTINGS = f"{TRAINING}/settings.json"


def save_settings(run: Path, settings: TrainSettings, fingerprint: str) -> None:
    """Remember what the run was asked to do, and the fingerprint of the data set to do it on."""
    (run / SETTINGS).parent.mkdir(exist_ok=True)
    document = {**dataclasses.asdict(settings), "dataset": fingerprint}
    write_text(run / SETTINGS, json.dumps(document, indent=2) + "\n")


def load_settings(run: Path) -> tuple[TrainSettings, str]:
    """What the run was asked to do, and the fingerprint of its data set.

    Raises:
        CheckpointError: That is not to be found out.
    """
    try:
        stored = dict(json.loads((run / SETTINGS).read_text(encoding="utf-8")))
        fingerprint = str(stored.pop("dataset"))
        return TrainSettings(**stored), fingerprint
    except (OSError, ValueError, TypeError, KeyError, FitError) as error:
        raise CheckpointError(f"{run / SETTINGS}: cannot be read ({error}); start a new run") from None
