"""What a run says about its training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def read_training(run: Path) -> dict[str, Any]:
    """Return the steps, epochs, seconds and last validation loss of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps, batch = [line for line in lines if line["kind"] == "train"], images_per_step(run)
    return {
        "steps": steps[-1]["step"],
        "epochs": steps[-1]["epoch"],
        "seconds": sum(batch / step["images_per_second"] for step in steps),
        "share_of_waiting_for_data": float(np.mean([step["data_wait"] for step in steps])),
        "validation_loss": next(line["loss"] for line in reversed(lines) if line["kind"] == "validation"),
    }


def images_per_step(run: Path) -> int:
    """Return the images of one optimizer step of a run."""
    settings = json.loads((run / "training" / "settings.json").read_text(encoding="utf-8"))
    return int(settings["batch_size"] * settings["accumulate"])
