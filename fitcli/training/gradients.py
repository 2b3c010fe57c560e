"""Computes the gradients of an optimizer step over several batches, with a smaller execution once memory runs out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from fitcli.data.batch import Arrivals, Batch
from fitcli.device.allocator import release_unused
from fitcli.distributed.early_sums import EarlySums
from fitcli.distributed.sharded_tensors import local_part, whole_tensor
from fitcli.distributed.world import UnrecoverableRankError
from fitcli.errors import FitError, OutOfMemory, is_out_of_memory, out_of_memory_reason
from fitcli.execution.job import Outcome, largest_handful
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.plan import Choice
from fitcli.runs.weights import TaskModel
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task
from fitcli.training.execution_choice import fall_back, has_room_ahead, save_plan
from fitcli.training.fsdp import ShardedStep
from fitcli.training.step_results import PassResult, StepResults


class _Part(NamedTuple):
    """The part of a process in the mean over a batch.

    Attributes:
        weight: Share of the mean, in [0, 1].
        divisor: Divisor of the mean of all processes: a number of images or patches.
    """

    weight: float
    divisor: float


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
        # Numbers of the parameters that had a gradient in the last step on any process; None before the first step.
        # Some never have one: they are left out of early sums as of those that follow a pass, for the same bits.
        self._existing: set[int] | None = None
        self._sums: EarlySums | None = None

    def accumulate(self, step: int) -> StepResults:
        """Compute the clipped gradients of the `settings.accumulate` batches of a step.

        The host does not wait for the last pass: receive the results later.

        The first step may be any; then call it step by step. If memory runs out, the batches of the step are read
        again: keeping them would take memory that grows with their number.

        Each process computes the gradients of its part of each batch, weighted by its part of the mean. Then all
        gradients are summed, many per message. The mean is that over all images or patches of the step: batches count
        by their divisors. Call it when no parameter has a gradient.

        The sums travel during the backward pass of the last batch, see `early_sums.py`. Those of a streamed step, whose
        backward passes add to each gradient many times, of a step that shares images, and of the first step follow it.

        Raises:
            OutOfMemory: Memory ran out, and there is no smaller execution, or it ran out a second time.
        """
        if self._batches is None:
            self._batches = self.run.batches(self.objective.reading, step)
        try:
            return self._all(self._batches)
        except OutOfMemory as error:
            reason = str(error)
        if self._sums is not None:
            self._sums.discard()
            self._sums = None
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
            batch, part, plan = self._read(batches, results)
            # The divisor of the whole step is not known yet: count in divisors of the first batch.
            unit = results.divisors[0] if results.divisors else part.divisor
            self._sums = self._early_sums() if number == passes else None
            everyone = self.run.world.gather_results(
                partial(self._compute_or_sum_zeros, batch, part, part.divisor / unit, plan, results)
            )
            self._arrivals.begin(batch.following())
            results.patches += sum(each["patches"] for each in everyone)
        self._sum_over_ranks([each["gradients"] for each in everyone])
        self._scale(results.divisors[0] / sum(results.divisors))
        norm = nn.utils.clip_grad_norm_(self._model.parameters(), self.run.settings.clip or math.inf)
        results.begin_reading(whole_tensor(norm))
        return results

    def _read(self, batches: Iterator[Batch], results: StepResults) -> tuple[Batch, _Part, ExecutionPlan]:
        """Take the next batch, on all processes.

        Returns:
            The batch, the part of this process in the mean over it, and the execution of the pass.
        """
        began, run, taken = time.perf_counter(), self.run, list[Batch]()

        def read() -> dict[str, Any]:
            taken.append(batch := next(batches))
            paths = [str(path) for path in batch.paths]
            groups, weight = len(batch.groups.number), self.objective.weight(batch)
            shapes = 0 if self._sharded is None else len(batch.groups.real_tokens().shapes)
            numbers = {"groups": groups, "shapes": shapes, "weight": weight}
            return numbers | {"paths": paths, "bad": run.bad_images.take_unsent()}

        everyone, ranks = run.world.gather_results(read), run.world.groups.size
        for part in everyone:
            run.bad_images.receive(part["bad"])
        _check_alike(everyone, ranks)
        # Processes that share images report the same; count each image once.
        parts = everyone[::ranks]
        for part in parts:
            results.name(part["paths"])
        results.waited += time.perf_counter() - began
        divisor = sum(part["weight"] for part in parts)
        own = _Part(float(parts[run.world.data.rank]["weight"] / divisor), float(divisor))
        groups, shapes = (max(part[name] for part in everyone) for name in ("groups", "shapes"))
        return taken[0], own, self._with_equal_calls(run.plan, groups, shapes)

    def _with_equal_calls(self, plan: ExecutionPlan, most: int, shapes: int) -> ExecutionPlan:
        """Make all processes call a sharded layer equally often.

        The largest part of the batch has `most` groups, and a part has at most `shapes` shapes of groups.
        """
        if self._sharded is None:
            return plan
        handful = min(plan.handful, largest_handful(self.run.config.model)) if plan.kind == "recompute" else most
        return replace(plan, calls=-(-most // handful), shapes=shapes)

    def _early_sums(self) -> EarlySums | None:
        """Return the sums for the next pass; None if they have to follow it."""
        run = self.run
        if self._existing is None or self._sharded is not None or run.plan.kind == "stream":
            return None
        if run.world.size == 1 or run.world.groups.size > 1:
            return None
        parameters = enumerate(self._model.parameters())
        return EarlySums(run.world, [parameter for number, parameter in parameters if number in self._existing])

    def _compute_or_sum_zeros(self, *arguments: Any) -> dict[str, Any]:
        """Do as `_compute`. After an error that all processes will learn of, take part in the sums that are left."""
        try:
            return self._compute(*arguments)
        except UnrecoverableRankError:
            raise
        except FitError as error:
            if self._sums is None or error.shared:
                raise
            failed = error
        self._model.zero_grad(set_to_none=True)
        try:
            self._sums.begin_rest()
        except (RuntimeError, MemoryError) as error:
            raise UnrecoverableRankError(str(failed)) from error
        raise failed

    def _compute(
        self,
        on_host: Batch,
        part: _Part,
        unit: float,
        plan: ExecutionPlan,
        results: StepResults,
    ) -> dict[str, Any]:
        """Add the gradients of a batch, and its result to `results`.

        Args:
            on_host: The batch.
            part: The part of this process in it.
            unit: Divisor of the batch, in divisors of the first batch of the step.
            plan: Execution of the pass.
            results: Results of the step so far.

        Returns:
            Numbers for all processes: real patches, and which parameters have gradients.

        Raises:
            OutOfMemory: Its traceback keeps no tensors alive.
            UnrecoverableRankError: Memory ran out in a sharded or group-parallel step, where other processes may be
                blocked in a collective.
        """
        run, began = self.run, time.perf_counter()
        try:
            batch = self._arrivals.bring(on_host, run.brings_pixels)
            results.waited += time.perf_counter() - began
            with run.runtime.autocast():
                outcome = self._run(batch, part.weight * unit, plan)
            if self._sums is not None:
                self._sums.begin_rest()
            # Scores are summed over processes, so a score that follows from the loss needs the weight of the loss.
            loss = outcome.loss * part.weight * run.world.data.size
            scores = self.objective.scores(batch, outcome._replace(loss=loss))
            results.add(PassResult(outcome.loss, part.weight, part.divisor, scores))
            return {"patches": batch.real_patches(), "gradients": self._existing_gradients()}
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
            with nullcontext() if self._sums is None else self._sums.during_backward():
                return run_job(job, plan, weight)
        # FSDP takes the mean over the processes, not the sum.
        return self._sharded.run(make, plan, weight * run.world.data.size, run.runtime.device)

    def _existing_gradients(self) -> str:
        """Return a letter per parameter: "g" if it has a gradient, else "-". Empty if no other process needs it."""
        if self.run.world.size == 1 or self._sharded is not None:
            return ""
        summed = set[nn.Parameter]() if self._sums is None else self._sums.have
        return "".join("-" if p.grad is None and p not in summed else "g" for p in self._model.parameters())

    def _sum_over_ranks(self, existing: list[str]) -> None:
        """Sum the gradients of all processes; `existing` has the result of `_existing_gradients` of each."""
        world = self.run.world
        if world.size == 1:
            return
        if self._sharded is not None:
            gradients = (local_part(p.grad) for p in self._model.parameters() if p.grad is not None)
            world.add_up(gradients, world.groups)
            return
        parameters = list(self._model.parameters())
        self._existing = {number for number, letters in enumerate(zip(*existing, strict=True)) if "g" in letters}
        left = [parameters[number] for number in sorted(self._existing)]
        if self._sums is not None:
            self._sums.finish(set(left))
            left = [parameter for parameter in left if parameter not in self._sums.parameters]
            self._sums = None
        for parameter in left:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        world.add_up(parameter.grad for parameter in left if parameter.grad is not None)

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


def _check_alike(everyone: list[dict[str, Any]], ranks: int) -> None:
    """Raise FitError if processes that share images read different ones: some could not read their part of an image."""
    for first in range(0, len(everyone), ranks):
        columns = zip(*(part["paths"] for part in everyone[first : first + ranks]), strict=True)
        if strange := next((paths for paths in columns if len(set(paths)) > 1), None):
            raise FitError(
                f"{min(strange, key=strange.count)} replaces an image of which only a part can be read, which "
                "--group-parallel does not support; leave that image out of the data set"
            )
