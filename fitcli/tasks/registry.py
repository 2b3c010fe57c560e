"""The tasks by name."""

from __future__ import annotations

from fitcli.tasks.autoregressive.objective import Autoregressive
from fitcli.tasks.classify.objective import Classify
from fitcli.tasks.diffusion.objective import Diffusion
from fitcli.tasks.task import Task

TASKS: dict[str, Task] = {"classify": Classify(), "diffusion": Diffusion(), "autoregressive": Autoregressive()}
"""The names are those of `run_config.MODELS`."""
