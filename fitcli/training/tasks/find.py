"""The tasks by name."""

from __future__ import annotations

from fitcli.training.task import Task
from fitcli.training.tasks.autoregressive import Autoregressive
from fitcli.training.tasks.classify import Classify
from fitcli.training.tasks.diffusion import Diffusion

TASKS: dict[str, Task] = {"classify": Classify(), "diffusion": Diffusion(), "autoregressive": Autoregressive()}
"""The names are those of `run_config.MODELS`."""
