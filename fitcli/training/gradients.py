"""The gradients of one optimizer step, over several batches; again, and more frugally, where memory runs out."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import torch

from fitcli.checkpoints import TaskModel
from fitcli.errors import FitError
from fitcli.execution.run import run_job
from fitcli.memory.plan import Choice
from fitcli.training.batch import Batch
from fitcli.training.memory import fall_back, save_plan
from fitcli.training.run import TrainingRun
from fitcli.training.tasks.find import TASKS


@dataclass(slots=True)
class Found:
    """What the batches of a step gave.

    Attributes:
        loss: Mean over the batches.
        patches: That are no padding.
        waited: Seconds for batches.
        scores: Of the task, summed over the images.
        paths: Of the images.
    """

    loss: float = 0.0
    patches: int = 0
    waited: float = 0.0
    scores: Counter[str] = field(default_factory=Counter)
    paths: list[Path] = field(default_factory=list)


class Gradients:
    """Of a run, step by step.

    Args:
        run: What is trained.
        model: Whose gradients they are.
        changed: Told the execution that is used from now on, where memory ran out.

    Attributes:
        run, objective: As they are now: the execution changes at most once.
    """

    def __init__(self, run: TrainingRun, model: TaskModel, changed: Callable[[Choice], None]) -> None:
        self.run, self.objective = run, TASKS[run.config.task].objective(run)
        self._model, self._changed, self._fell_back = model, changed, False

    def accumulate(self, batches: Iterator[Batch]) -> Found:
        """Add the gradients of the next `settings.accumulate` batches to those of the parameters, which have none.

        Raises:
            FitError: Memory ran out, and there is no smaller execution, or this one was it.
        """
        taken: list[Batch] = []
        try:
            return self._all(batches, taken)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else "the system has no more"
        # Outside of the except clause: its traceback holds what filled the memory.
        self._shrink(reason)
        return self._all(chain(taken, batches), [])

    def _all(self, batches: Iterator[Batch], taken: list[Batch]) -> Found:
        """`taken` receives the batches, as they came."""
        found, run, count = Found(), self.run, self.run.settings.accumulate
        for _ in range(count):
            asked = time.perf_counter()
            taken.append(next(batches))
            batch = run.bring(taken[-1])
            found.waited += time.perf_counter() - asked
            with run.runtime.autocast():
                outcome = run_job(self.objective.job(self._model, batch), run.plan, 1 / count)
            found.loss += outcome.loss.item() / count
            found.scores.update(self.objective.scores(batch, outcome))
            found.patches += batch.real_patches()
            found.paths += batch.paths
        return found

    def _shrink(self, reason: str) -> None:
        self._model.zero_grad(set_to_none=True)
        gc.collect()
        if self.run.runtime.device.type == "cuda":
            torch.cuda.empty_cache()
        choice = None if self._fell_back else fall_back(self.run)
        if choice is None:
            raise FitError(
                f"out of memory on {self.run.runtime.device} ({reason}); use a smaller --batch-size, --size or --preset"
            )
        self._fell_back = True
        self.run = replace(self.run, plan=choice.plan)
        self.objective = TASKS[self.run.config.task].objective(self.run)
        save_plan(self.run.folder, choice.plan)
        self._changed(choice)


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch says so in words.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
