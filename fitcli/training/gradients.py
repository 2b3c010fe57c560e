"""Computes the gradients of an optimizer step over several batches, with a smaller execution once memory runs out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from fitcli.data.batch import Arrivals, Batch
from fitcli.device.allocator import release_unused
from fitcli.distributed.gradient_sums import GradientSums
from fitcli.distributed.sharded_tensors import local_part, whole_tensor
from fitcli.distributed.world import UnrecoverableRankError
from fitcli.errors import FitError, OutOfMemory, is_out_of_memory, out_of_memory_reason
from fitcli.execution.job import Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.plan import Choice
from fitcli.runs.weights import TaskModel
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task
from fitcli.training.execution_choice import fall_back, has_room_ahead, save_plan
from fitcli.training.fsdp import ShardedStep
from fitcli.training.step_batches import PassInput, read_batch
from fitcli.training.step_results import PassResult, StepResults


class Gradients:
    """Computes the gradients of a run, step by step.

    Args:
        run: The run.
        model: Its model.
        on_fallback: Called with the new execution if memory ran out.
        sharded: Steps of the model if it is sharded; else None.

    Close it at the end, see `Loader`.

    Attributes:
        run, objective: The run with its present execution, which changes at most once, and its objective.
    """

    def __init__(
        self,
        run: TrainingRun,
        model: TaskModel,
        on_fallback: Callable[[Choice], None],
        sharded: ShardedStep | None = None,
    ) -> None:
        self.run, self.objective = run, find_task(run.config.task).objective(run)
        self._model, self._on_fallback, self._sharded, self._fell_back = model, on_fallback, sharded, False
        self._arrivals = Arrivals(run.runtime.device, ahead=has_room_ahead(run))
        self._batches: Generator[Batch] | None = None
        self._sums = GradientSums(run.world, model, sharded is not None)

    def accumulate(self, step: int) -> StepResults:
        """Compute the clipped gradients of the `settings.accumulate` batches of a step.

        The host does not wait for the last pass: receive the results later.

        The first step may be any; then call it step by step. If memory runs out, the batches of the step are read
        again: keeping them would take memory that grows with their number.

        Each process computes the gradients of its part of each batch, weighted by its part of the mean. Then all
        gradients are summed, many per message. The mean is that over all images or patches of the step: batches count
        by their divisors. Call it when no parameter has a gradient.

        Raises:
            OutOfMemory: Memory ran out, and there is no smaller execution, or it ran out a second time.
        """
        if self._batches is None:
            self._batches = self.run.batches(self.objective.reading, step)
        try:
            return self._all(self._batches)
        except OutOfMemory as error:
            reason = str(error)
        self._sums.discard()
        # Outside of the except clause, because its traceback refers to the tensors that filled the memory.
        self.close()
        self._shrink(reason)
        self._batches = self.run.batches(self.objective.reading, step)
        try:
            return self._all(self._batches)
        except OutOfMemory as error:
            reason = str(error)
        raise OutOfMemory(self._too_little(reason))

    def close(self) -> None:
        """Stop reading batches."""
        if self._batches is not None:
            self._batches.close()

    def _all(self, batches: Iterator[Batch]) -> StepResults:
        """Compute the gradients of the next step of `batches`."""
        results, passes = StepResults(), self.run.settings.accumulate
        for number in range(1, passes + 1):
            results.read_some(self.run.world)
            taken = read_batch(self.run, self.objective, batches, self._sharded is not None, results)
            # The divisor of the whole step is not known yet: count in that of the first batch.
            divisor = taken.part.divisor
            unit = divisor / (results.unit or divisor or 1)
            self._sums.begin_pass(is_last=number == passes, adds_once=self.run.plan.kind != "stream")
            everyone = self.run.world.gather_results(partial(self._compute_or_sum_zeros, taken, unit, results))
            self._arrivals.begin(taken.batch.following())
            results.patches += sum(each["patches"] for each in everyone)
        self._sums.finish([each["gradients"] for each in everyone])
        self._scale(results.unit / (sum(results.divisors) or 1))
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self.run.settings.clip or math.inf)
        results.begin_reading(whole_tensor(norm))
        return results

    def _compute_or_sum_zeros(self, *arguments: Any) -> dict[str, Any]:
        """Do as `_compute`. After an error that all processes will learn of, take part in the sums that are left."""
        try:
            return self._compute(*arguments)
        except UnrecoverableRankError:
            raise
        except FitError as error:
            if error.shared or not self._sums.are_early:
                raise
            failed = error
        self._model.zero_grad(set_to_none=True)
        try:
            self._sums.begin_rest()
        except (RuntimeError, MemoryError) as error:
            raise UnrecoverableRankError(str(failed)) from error
        raise failed

    def _compute(self, taken: PassInput, unit: float, results: StepResults) -> dict[str, Any]:
        """Add the gradients of a batch, and its result to `results`.

        Args:
            taken: The batch and its execution.
            unit: Divisor of the batch, in divisors of the first batch of the step.
            results: Results of the step so far.

        Returns:
            Numbers for all processes: real patches, and which parameters have gradients.

        Raises:
            OutOfMemory: Its traceback keeps no tensors alive.
            UnrecoverableRankError: Memory ran out in a sharded or group-parallel step, where other processes may be
                blocked in a collective.
        """
        run, part, began = self.run, taken.part, time.perf_counter()
        try:
            batch = self._arrivals.bring(taken.batch, run.brings_pixels)
            results.waited += time.perf_counter() - began
            with run.runtime.autocast():
                outcome = self._run(batch, part.weight * unit, taken.plan)
            self._sums.begin_rest()
            # Scores are summed over processes, so a score that follows from the loss needs the weight of the loss.
            loss = outcome.loss * part.weight * run.world.data.size
            scores = self.objective.scores(batch, outcome._replace(loss=loss))
            results.add(PassResult(outcome.loss, part.weight, part.divisor, scores))
            return {"patches": batch.real_patches(), "gradients": self._sums.existing()}
        except (RuntimeError, MemoryError, OutOfMemory) as error:
            if not is_out_of_memory(error):
                raise
            reason = out_of_memory_reason(error)
        if self._sharded is not None or run.world.groups.size > 1:
            raise UnrecoverableRankError(
                f"out of memory on {run.runtime.device} ({reason}); give --memory, or use more processes, a smaller "
                "--batch-size, --size or --preset"
            )
        raise OutOfMemory(reason)

    def _run(self, batch: Batch, weight: float, plan: ExecutionPlan) -> Outcome:
        run, make = self.run, partial(self.objective.job, self._model, batch, plan)
        if self._sharded is None:
            job = make()
            with self._sums.during_backward():
                return run_job(job, plan, weight)
        # FSDP takes the mean over the processes, not the sum.
        return self._sharded.run(make, plan, weight * run.world.data.size, run.runtime.device)

    def _scale(self, factor: float) -> None:
        """Turn gradients in divisors of the first batch into those of the mean over the step."""
        if factor == 1:
            return
        gradients = [local_part(p.grad) for p in self._model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)

    def release(self) -> None:
        """Free the pixels of the next batch on the device, to make room for a validation."""
        self._arrivals.forget()

    def _too_little(self, reason: str) -> str:
        return f"out of memory on {self.run.runtime.device} ({reason}); use a smaller --batch-size, --size or --preset"

    def _shrink(self, reason: str) -> None:
        """Switch to a smaller execution.

        Raises:
            OutOfMemory: There is none, or this is not the first time.
        """
        self._model.zero_grad(set_to_none=True)
        self._arrivals.stop()
        release_unused(self.run.runtime.device)
        choice = None if self._fell_back else fall_back(self.run)
        if choice is None:
            raise OutOfMemory(self._too_little(reason))
        self._fell_back = True
        self.run = replace(self.run, plan=choice.plan)
        self.objective = find_task(self.run.config.task).objective(self.run)
        if self.run.world.is_first:
            save_plan(self.run.folder, choice.plan)
        self._on_fallback(choice)
