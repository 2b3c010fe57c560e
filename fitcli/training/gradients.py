"""The gradients of one optimizer step, over several batches; again, and more frugally, where memory runs out."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fitcli.data.batch import Arrivals, Batch
from fitcli.distributed.sharded_tensors import local_part, whole_tensor
from fitcli.distributed.world import UnrecoverableRankError
from fitcli.errors import FitError
from fitcli.execution.job import Outcome, largest_handful
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.plan import Choice
from fitcli.runs.weights import TaskModel
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task
from fitcli.training.execution_choice import fall_back, has_room_ahead, save_plan
from fitcli.training.fsdp import ShardedStep
from fitcli.training.step_results import Pass, StepResults


class OutOfMemory(FitError):
    """A step needs more memory than there is."""


class Gradients:
    """Of a run, step by step.

    Args:
        run: What is trained.
        model: Whose gradients they are.
        changed: Told the execution that is used from now on, where memory ran out.
        sharded: Steps of the model, where it is shared out over processes.

    Attributes:
        run, objective: As they are now: the execution changes at most once.
    """

    def __init__(
        self,
        run: TrainingRun,
        model: TaskModel,
        changed: Callable[[Choice], None],
        sharded: ShardedStep | None = None,
    ) -> None:
        self.run, self.objective = run, find_task(run.config.task).objective(run)
        self._model, self._changed, self._sharded, self._fell_back = model, changed, sharded, False
        self._arrivals = Arrivals(run.runtime.device, ahead=has_room_ahead(run))

    def accumulate(self, batches: Iterator[Batch]) -> StepResults:
        """Give the parameters, which have none, the gradients of the next `settings.accumulate` batches, clipped.

        Each process computes those of its part of each batch, weighted with its part of the mean; then they are added
        up in messages of many gradients. Not by `DistributedDataParallel`: its hooks count on one backward pass
        through one call of the model, while a streamed step makes many; and a process that runs out of memory in a
        backward pass would leave the others waiting in a sum, where here all of them start over more frugally. What
        that gives up is sums that travel while the backward pass is under way; with few parameters and
        many patches they take a small part of a step.

        Raises:
            FitError: Memory ran out, and there is no smaller execution, or this one was it.
        """
        taken: list[Batch] = []
        try:
            return self._all(batches, taken)
        except OutOfMemory as error:
            reason = str(error)
        # Outside of the except clause: its traceback holds what filled the memory.
        self._shrink(reason)
        return self._all(chain(taken, batches), [])

    def _all(self, batches: Iterator[Batch], taken: list[Batch]) -> StepResults:
        """`taken` receives the batches, as they came."""
        found, passes = StepResults(), list[Pass]()
        for _ in range(self.run.settings.accumulate):
            share, plan = self._read(batches, taken, found)
            everyone = self.run.world.gather_results(partial(self._compute, taken[-1], share, plan, found, passes))
            self._arrivals.begin(taken[-1].following())
            found.patches += sum(part["patches"] for part in everyone)
        self._add_up([part["has"] for part in everyone])
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self.run.settings.clip or math.inf)
        found.read(passes, whole_tensor(norm), self.run.world)
        return found

    def _read(self, batches: Iterator[Batch], taken: list[Batch], found: StepResults) -> tuple[float, ExecutionPlan]:
        """Take the next batch.

        Returns:
            The part of it that this process has read, as it counts in the mean over all of it; and how to execute it.
        """
        asked, run = time.perf_counter(), self.run

        def read() -> dict[str, Any]:
            taken.append(next(batches))
            paths = [str(path) for path in taken[-1].paths]
            groups, weight = len(taken[-1].groups.number), self.objective.weight(taken[-1])
            return {"groups": groups, "weight": weight, "paths": paths, "bad": run.bad_images.take_unsent()}

        everyone, ranks = run.world.gather_results(read), run.world.groups.size
        for part in everyone:
            run.bad_images.receive(part["bad"])
        _check_alike(everyone, ranks)
        # Of those that share images, which say the same, one counts.
        parts = everyone[::ranks]
        for part in parts:
            found.paths += map(Path, part["paths"])
        found.waited += time.perf_counter() - asked
        share = float(parts[run.world.data.rank]["weight"] / sum(part["weight"] for part in parts))
        return share, self._aligned(run.plan, max(part["groups"] for part in everyone))

    def _aligned(self, plan: ExecutionPlan, most: int) -> ExecutionPlan:
        """What all processes call equally often, of which one has `most` groups."""
        if self._sharded is None:
            return plan
        handful = min(plan.handful, largest_handful(self.run.config.model)) if plan.kind == "recompute" else most
        return replace(plan, calls=-(-most // handful))

    def _compute(
        self, read: Batch, share: float, plan: ExecutionPlan, found: StepResults, passes: list[Pass]
    ) -> dict[str, Any]:
        """Add the gradients of a batch, and what it gave to `passes`; what the other processes are to know.

        Raises:
            OutOfMemory: With nothing in its traceback that holds memory.
            Stranded: The same where weights or groups are shared out: the others wait for a layer, not for a word.
        """
        run, asked = self.run, time.perf_counter()
        try:
            batch = self._arrivals.bring(read, run.brings_pixels)
            found.waited += time.perf_counter() - asked
            with run.runtime.autocast():
                outcome = self._run(batch, share, plan)
            # Scores are summed over images. One that follows from the loss has to count as the loss does.
            scores = self.objective.scores(batch, outcome._replace(loss=outcome.loss * share * run.world.data.size))
            passes.append(Pass(outcome.loss, share, scores))
            return {"patches": batch.real_patches(), "has": self._has()}
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else "the system has no more"
        if self._sharded is not None or run.world.groups.size > 1:
            raise UnrecoverableRankError(
                f"out of memory on {run.runtime.device} ({reason}); give --memory, or use more processes, a smaller "
                "--batch-size, --size or --preset"
            )
        raise OutOfMemory(reason)

    def _run(self, batch: Batch, share: float, plan: ExecutionPlan) -> Outcome:
        run, make = self.run, partial(self.objective.job, self._model, batch, plan)
        weight = share / run.settings.accumulate
        if self._sharded is None:
            return run_job(make(), plan, weight)
        # Sharding takes the mean over the processes.
        return self._sharded.run(make, plan, weight * run.world.data.size, run.runtime.device)

    def _has(self) -> str:
        """Which parameters have a gradient, for the others to know: a letter per parameter."""
        if self.run.world.size == 1 or self._sharded is not None:
            return ""
        return "".join("-" if parameter.grad is None else "g" for parameter in self._model.parameters())

    def _add_up(self, everyone: list[str]) -> None:
        """Give all processes the sum of their gradients; `everyone` says which there are, see `_has`."""
        world = self.run.world
        if world.size == 1:
            return
        if self._sharded is not None:
            gradients = (local_part(p.grad) for p in self._model.parameters() if p.grad is not None)
            world.add_up(gradients, world.groups)
            return
        parameters = list(self._model.parameters())
        for parameter, has in zip(parameters, zip(*everyone, strict=True), strict=True):
            if parameter.grad is None and "g" in has:
                parameter.grad = torch.zeros_like(parameter)
        world.add_up(parameter.grad for parameter in parameters if parameter.grad is not None)

    def release(self) -> None:
        """Give back what waits on the device for the next step, where something else needs the room."""
        self._arrivals.forget()

    def _shrink(self, reason: str) -> None:
        self._model.zero_grad(set_to_none=True)
        self._arrivals.stop()
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
        self.objective = find_task(self.run.config.task).objective(self.run)
        if self.run.world.is_first:
            save_plan(self.run.folder, choice.plan)
        self._changed(choice)


def _check_alike(everyone: list[dict[str, Any]], ranks: int) -> None:
    """Raise FitError where processes that share images have read different ones: one could not be read in part."""
    for first in range(0, len(everyone), ranks):
        columns = zip(*(part["paths"] for part in everyone[first : first + ranks]), strict=True)
        if strange := next((paths for paths in columns if len(set(paths)) > 1), None):
            raise FitError(
                f"{min(strange, key=strange.count)} stands for an image of which only a part can be read: "
                "--group-parallel cannot go on without it; leave that image out of the data set"
            )


def _is_out_of_memory(error: Exception) -> bool:
    # On a CPU torch says so in words.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
