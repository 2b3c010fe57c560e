"""The model of a training run, with its optimizer and the moving average of its weights, equal on all processes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from fitcli.distributed.agreement import require_agreement, weights_digest
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint, TaskModel, start_from
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.load import load_config
from fitcli.tasks.registry import find_task
from fitcli.training.checkpointing.snapshot import State, restore, snapshot
from fitcli.training.ema import Ema
from fitcli.training.fsdp import shard_model, whole_model
from fitcli.training.optimizer import build_optimizer, set_learning_rate, step_if_finite
from models.build import build


class TrainedModel:
    """The model that a run trains.

    Args:
        run: The run.
        resumes: Whether `restore` will load the weights.

    Attributes:
        model: The model, in training mode.
        sharded: Steps of the model if it is sharded; else None.
    """

    def __init__(self, run: TrainingRun, resumes: bool) -> None:
        settings = run.settings
        self._run = run
        # Sharding moves one layer at a time to the device, which need not have room for the whole model.
        device = "cpu" if run.shard else run.runtime.device
        self.model: TaskModel = build(run.config.model, device, seed=settings.seed).train()
        if settings.start_from is not None and not resumes:
            run.world.run_on_all(partial(_start_from, Path(settings.start_from), self.model, run.config))
        self._ema = Ema(self.model, settings.ema_decay) if settings.ema_decay else None
        self._average = None if self._ema is None else self._ema.model
        # Each process holds another part of sharded weights: only the whole ones can be compared.
        self._whole = self._digests() if run.shard and not resumes else {}
        self.sharded = shard_model(self.model, self._average, run.world) if run.shard else None
        for model in (self.model, self._average):
            if model is not None:
                run.runtime.compile(model)
        self._optimizer = build_optimizer(self.model, settings)

    def compare_first(self) -> None:
        """Compare the first weights over all processes; collective.

        Raises:
            FitError: They differ.
        """
        self._compare(self._whole if self._run.shard else self._digests())

    def compare_restored(self, files: Mapping[str, str]) -> None:
        """Compare the weights that were restored, and the checksums of their files, over all processes; collective.

        Raises:
            FitError: They differ.
        """
        self._compare({**files, **({} if self._run.shard else self._digests())})

    def snapshot(self, *, copy: bool) -> State:
        """Return the state, in the first process only; collective. See `checkpointing/snapshot.py`."""
        return snapshot(self.model, self._optimizer, self._average, copy, keep=self._run.world.is_first)

    def restore(self, state: State) -> None:
        """Load a state.

        Raises:
            ValueError, RuntimeError, KeyError: The state belongs to another model.
        """
        restore(state, self.model, self._optimizer, self._average)

    def step(self, rate: float, norm: Tensor) -> None:
        """Take a step along the gradients if their norm is finite, and drop the gradients. The host does not wait.

        Args:
            rate: Learning rate.
            norm: Norm of the gradients, a scalar on the device.
        """
        set_learning_rate(self._optimizer, rate)
        step_if_finite(self._optimizer, norm)
        self._optimizer.zero_grad(set_to_none=True)

    def add_to_average(self, step: int) -> None:
        """Add the weights after step 1, 2, ... to their moving average, if the run keeps one."""
        if self._ema is not None:
            self._ema.update(self.model, step)

    def for_inference(self) -> Checkpoint[TaskModel]:
        """Return the model that inference will use: with the moving average if the run keeps one. Collective.

        It may be the model that is trained: then `train` it again afterwards.
        """
        run, model = self._run, self._average or self.model.eval()
        if run.shard:
            model = whole_model(model, run.config)
            run.runtime.compile(model)
        return Checkpoint(model, run.config)

    def _digests(self) -> dict[str, str]:
        """Return hashes of the weights by name, for the comparison with other processes; none for a single process."""
        if self._run.world.size == 1:
            return {}
        models = {"the weights": self.model, "the moving average of the weights": self._average}
        return {name: weights_digest(model.state_dict().items()) for name, model in models.items() if model is not None}

    def _compare(self, facts: dict[str, str]) -> None:
        require_agreement(self._run.world, facts, "give all machines the same files, and the same kind of device")


def _start_from(folder: Path, model: TaskModel, config: RunConfig) -> None:
    start_from(folder, load_config(folder), model, config, find_task(config.task).class_weights)
