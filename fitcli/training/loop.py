"""The training loop: what happens, in the order in which it happens.

Knows no command line and prints nothing: reports go to `observe`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from fitcli.data.bad_images import BadImage, TooManyBadImages
from fitcli.data.batch import Batch
from fitcli.errors import DataError, FitError
from fitcli.files.leftovers import remove_leftovers
from fitcli.runs.config import RunConfig, is_run, save_config
from fitcli.runs.weights import Checkpoint, TaskModel, start_from
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.load import expect_task
from fitcli.tasks.registry import find_task
from fitcli.training.checkpointing.run_lock import locked
from fitcli.training.checkpointing.run_record import TRAINING, save_begun
from fitcli.training.checkpointing.saved_states import STATES, load_state, save_state
from fitcli.training.checkpointing.saver import LAST, Saver, saving
from fitcli.training.checkpointing.snapshot import Progress, State, restore, snapshot
from fitcli.training.ema import Ema
from fitcli.training.execution_choice import has_room_for_copy, save_plan
from fitcli.training.finite_check import check_finite
from fitcli.training.fsdp import shard_model, whole_model
from fitcli.training.gradients import Gradients
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from fitcli.training.reports import (
    BadImageReport,
    BeginReport,
    DamageReport,
    MemoryReport,
    MetricsLog,
    NoLog,
    Report,
    StepReport,
    StopReport,
    ValidatingReport,
    ValidationReport,
)
from fitcli.training.stop_requests import Stop, TimeIsOver, interruptions
from models.build import build

Observer = Callable[[Report], None]


def train(run: TrainingRun, observe: Observer, resume: bool = False) -> Progress:
    """Train from the beginning, or from where a run was saved, to the end.

    Args:
        run: What to train, on what, where.
        observe: Told every report, in order.
        resume: Continue the run in the folder.

    Returns:
        How far it came and how good it was.

    Raises:
        KeyboardInterrupt: Someone asked to stop; the run was saved and can be resumed.
        TimeIsOver: The deadline of the run has passed, and at least one step was done; the same.
        FitError: The loss is no number any more, or nothing can be written; what was saved before is still there. Or
            another process trains there.
        TooManyBadImages: More images cannot be used than the settings allow; the run was saved and can be resumed.
    """
    with ExitStack() as resources:
        run.world.run_on_all(partial(_claim, run, resume, resources))
        training = _Training(run, observe, resume)
        training.resume() if resume else training.begin()
        observe(BeginReport(run.introduction()))
        return training.go()


def _claim(run: TrainingRun, resume: bool, resources: ExitStack) -> None:
    """Keep other jobs from the run folder, for all processes of this one."""
    if not run.world.is_first:
        return
    resources.enter_context(locked(run.folder))
    if not resume and is_run(run.folder):
        raise FitError(f"{run.folder}: holds a run by now; continue it with --resume, or choose another --out")
    remove_leftovers(run.folder, TRAINING, STATES, LAST)


class _Training:
    """A run in this process: what is trained, how far it is, and who is told.

    Args:
        run: What to train, on what, where.
        observe: Told every report, in order.
        resumes: Weights will come from where the run was saved.
    """

    def __init__(self, run: TrainingRun, observe: Observer, resumes: bool) -> None:
        settings = run.settings
        self.run, self.observe, self.progress = run, observe, Progress()
        # What is shared out is moved to the device a layer at a time: the whole model need not fit there.
        device = "cpu" if run.shard else run.runtime.device
        self.model: TaskModel = build(run.config.model, device, seed=settings.seed).train()
        if settings.start_from is not None and not resumes:
            run.world.run_on_all(partial(_start_from, Path(settings.start_from), self.model, run.config))
        self.ema = Ema(self.model, settings.ema_decay) if settings.ema_decay else None
        self.average = None if self.ema is None else self.ema.model
        sharded = shard_model(self.model, self.average, run.world) if run.shard else None
        for model in (self.model, self.average):
            if model is not None:
                run.runtime.compile(model)
        self.optimizer = build_optimizer(self.model, settings)
        self.gradients = Gradients(run, self.model, lambda choice: observe(MemoryReport(choice.summary())), sharded)
        self.resumed = False

    def begin(self) -> None:
        """Make the run folder one of a run that can be resumed."""
        state = self._snapshot(copy=False)
        if not self.run.world.is_first:
            return
        with saving(self.run.folder):
            self._remember()
            save_state(self.run.folder, state, self.progress)
            save_config(self.run.folder, self.run.config)

    def resume(self) -> None:
        """Go on from what was saved last."""
        use = partial(restore, model=self.model, optimizer=self.optimizer, average=self.average)
        self.progress = load_state(self.run.folder, use, lambda *found: self.observe(DamageReport(*found)))
        self.resumed = True
        if len(set(self.run.world.gather(self.progress.step))) > 1:
            raise FitError(
                f"{self.run.folder}: not all processes see the same files there; use a folder that they share"
            )
        if not self.run.world.is_first:
            return
        with saving(self.run.folder):
            self._remember()

    def go(self) -> Progress:
        """Train to the end."""
        run, progress = self.run, self.progress
        stopping = partial(self.observe, StopReport())
        with (
            MetricsLog(run.folder, progress.step, progress.validated, self.observe)
            if run.world.is_first
            else NoLog() as self.log,
            Saver(
                run,
                self._snapshot,
                self.log.sync,
                progress,
                writes=run.world.is_first,
                in_background=partial(has_room_for_copy, run),
            ) as self.saver,
            interruptions(stopping, run.deadline) as self.interruption,
            closing(run.batches(self.gradients.objective.reading, progress.step)) as batches,
        ):
            known = {sample.path for sample in run.dataset.train + run.dataset.validation}
            told = run.world.broadcast([(str(bad.path), str(bad.error)) for bad in self.log.bad_images])
            bad_images = [BadImage(Path(path), DataError(reason)) for path, reason in told]
            run.bad_images.restore(bad for bad in bad_images if bad.path in known)
            try:
                if self.resumed:
                    # Perhaps the process died before the weights were there that follow from the state.
                    self._save()
                    # However late it is, it goes on by a step.
                    self._end_step(least=Stop.REQUEST)
                for step in range(progress.step, run.total_steps):
                    self._report(self._step(batches, step))
                    progress.step = step + 1
                    if self.ema is not None:
                        self.ema.update(self.model, progress.step)
                    self._end_step()
                run.world.gather_results(self.saver.wait)
            except TooManyBadImages:
                self._tell_bad_images(progress.step + 1)
                self._save()
                run.world.gather_results(self.saver.wait)
                raise
        return progress

    def _remember(self) -> None:
        run = self.run
        save_begun(run.folder, run.settings, run.config, run.dataset)
        save_plan(run.folder, run.plan)

    def _snapshot(self, *, copy: bool) -> State:
        return snapshot(self.model, self.optimizer, self.average, copy, keep=self.run.world.is_first)

    def _save(self) -> None:
        # All processes take part in a snapshot, and the one that writes may fail before it.
        self.run.world.gather_results(self.saver.wait)
        self.saver.save(self.progress)

    def _end_step(self, least: Stop = Stop.TIME) -> None:
        """Look, save, and stop: for a reason that counts no less than `least`."""
        # Of all processes: they stop after the same step.
        found = Stop(max(self.run.world.gather(self.interruption.reason())))
        reason = found if found >= least else Stop.NEVER
        self._look_and_save(stops=reason != Stop.NEVER)
        self._stop(reason)

    def _look_and_save(self, stops: bool) -> None:
        """At the end of an epoch, see how good it is; save when it is time to, and what is the best so far."""
        run, progress = self.run, self.progress
        ends, better = _ends_epoch(run, progress.step), False
        # Where the run stops, that waits for `resume`.
        if ends and run.dataset.validation and progress.validated < progress.step and not stops:
            self.observe(ValidatingReport(len(run.dataset.validation)))
            found = self._validate()
            self._report(found)
            better = found.best
        due = run.world.broadcast(self.saver.due(progress.step, ends))
        if due or better or progress.step == run.total_steps or stops:
            self._save()

    def _stop(self, reason: Stop) -> None:
        run, progress = self.run, self.progress
        run.world.gather_results(self.saver.check)
        if reason != Stop.NEVER:
            run.world.gather_results(self.saver.wait)
        if reason == Stop.REQUEST:
            raise KeyboardInterrupt(f"{run.folder} was saved, continue with --resume")
        if reason == Stop.TIME:
            raise TimeIsOver(
                f"{run.folder}: {progress.step} of {run.total_steps} steps, the time is over; continue with --resume"
            )

    def _report(self, entry: StepReport | ValidationReport) -> None:
        self._tell_bad_images(entry.step)
        self.log(entry)
        self.observe(entry)

    def _tell_bad_images(self, step: int) -> None:
        for bad in self.run.bad_images.take_pending():
            entry = BadImageReport(step=step, path=bad.path, reason=str(bad.error))
            self.log(entry)
            self.observe(entry)

    def _step(self, batches: Iterator[Batch], step: int) -> StepReport:
        """One optimizer step over `accumulate` batches."""
        run, settings = self.run, self.run.settings
        began = time.perf_counter()
        found = self.gradients.accumulate(batches)
        check_finite("loss", found.loss, run.folder, step + 1, found.paths)
        check_finite("gradient", found.norm, run.folder, step + 1, found.paths)
        rate = learning_rate(step, run.total_steps, settings)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - began
        return StepReport(
            step=step + 1,
            epoch=(step + 1) * settings.images_per_step / len(run.dataset.train),
            loss=found.loss,
            learning_rate=rate,
            gradient_norm=found.norm,
            images_per_second=settings.images_per_step / seconds,
            patches_per_second=found.patches / seconds,
            data_wait=found.waited / seconds,
            peak_bytes=run.runtime.peak_bytes(),
            scores={name: total / settings.images_per_step for name, total in found.scores.items()},
        )

    def _validate(self) -> ValidationReport:
        """Look at the validation images with the weights to be used later: their average where the run keeps one."""
        progress = self.progress
        self.gradients.release()
        model = self.average or self.model.eval()
        if self.run.shard:
            model = whole_model(model, self.run.config)
            self.run.runtime.compile(model)
        found = self.gradients.objective.validate(Checkpoint(model, self.run.config))
        self.model.train()
        check_finite("validation loss", found.loss, self.run.folder, progress.step)
        progress.validated = progress.step
        # What was seen of other images says nothing about these.
        judged_on = self.run.dataset.validation_fingerprint
        best = not progress.best or judged_on != progress.judged_on or found.rank > progress.best
        if best:
            progress.best, progress.best_step, progress.judged_on = found.rank, progress.step, judged_on
            progress.headline = found.headline
        return ValidationReport(
            step=progress.step, loss=found.loss, scores=found.scores, best=best, headline=found.headline
        )


def _start_from(folder: Path, model: TaskModel, config: RunConfig) -> None:
    start_from(folder, expect_task(folder, config.task), model, config, find_task(config.task).class_weights)


def _ends_epoch(run: TrainingRun, step: int) -> bool:
    """Whether an epoch, or the run, is over after this many steps."""
    return step == run.total_steps or (step > 0 and run.settings.ends_epoch(step - 1, len(run.dataset.train)))
