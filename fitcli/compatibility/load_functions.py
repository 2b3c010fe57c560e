"""The functions that loaded a run of one task, before `load_run` loaded those of all."""

from __future__ import annotations

from pathlib import Path

from fitcli.device.runtime import Runtime
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.task import TASK as AUTOREGRESSIVE
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITClassifier


def load_classifier(folder: Path, runtime: Runtime, ema: bool = True) -> Checkpoint[FITClassifier]:
    """Load a classifier, see `load_run`."""
    return load_run(folder, runtime, CLASSIFY, ema)


def load_denoiser(folder: Path, runtime: Runtime, ema: bool = True) -> Checkpoint[FITDenoiser]:
    """Load a diffusion model, see `load_run`."""
    return load_run(folder, runtime, DIFFUSION, ema)


def load_decoder(folder: Path, runtime: Runtime, ema: bool = True) -> Checkpoint[FITDecoder]:
    """Load an autoregressive model, see `load_run`."""
    return load_run(folder, runtime, AUTOREGRESSIVE, ema)
