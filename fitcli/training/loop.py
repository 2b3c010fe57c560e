"""The training loop, from the first step or a saved state to the end.

It knows no command line and prints nothing: reports go to an observer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from fitcli.data.bad_images import BadImage, TooManyBadImages
from fitcli.device.moment import Moment
from fitcli.device.transfer import runs_ahead
from fitcli.distributed.world import PeerLost, UnrecoverableRankError
from fitcli.errors import DataError, FitError, OutOfMemory
from fitcli.files.leftovers import remove_leftovers
from fitcli.runs.config import is_run, save_config
from fitcli.tasks.context import TrainingRun
from fitcli.training.checkpointing.run_lock import locked
from fitcli.training.checkpointing.run_record import TRAINING, save_record
from fitcli.training.checkpointing.saved_states import STATES, checksums, load_state, save_state
from fitcli.training.checkpointing.saver import LAST, Saver, saving
from fitcli.training.checkpointing.snapshot import Progress
from fitcli.training.execution_choice import has_room_for_copy, save_plan
from fitcli.training.finite_check import check_finite
from fitcli.training.gradients import Gradients
from fitcli.training.launched_step import LaunchedStep
from fitcli.training.metrics_log import MetricsLog, NoLog
from fitcli.training.optimizer import learning_rate
from fitcli.training.reports import (
    BadImageReport,
    BeginReport,
    DamageReport,
    MemoryReport,
    Report,
    StepReport,
    StopReport,
    ValidatingReport,
    ValidationReport,
)
from fitcli.training.run_page import RunPage
from fitcli.training.stop_requests import StopReason, TimeLimitReached, catch_stop_requests
from fitcli.training.trained_model import TrainedModel

Observer = Callable[[Report], None]
"""Receives every report, in order."""


def train(run: TrainingRun, observe: Observer, resume: bool = False) -> Progress:
    """Train a run to its end.

    Args:
        run: The run.
        observe: Receives the reports.
        resume: Whether to continue from the last saved state.

    Returns:
        Progress at the end.

    Raises:
        KeyboardInterrupt: A user or a scheduler asked to stop; the run was saved and can be resumed.
        TimeLimitReached: The deadline has passed after at least one step; the run was saved and can be resumed.
        TooManyBadImages: More images are unusable than the settings allow; the run was saved and can be resumed.
        FitError: The loss is NaN or infinite, or nothing can be written; earlier saved states are still there. Another
            process trains in the folder.
    """
    with ExitStack() as resources:
        run.world.run_on_all(partial(_claim, run, resume, resources))
        training = _Training(run, observe, resume)
        training.resume() if resume else training.begin()
        observe(BeginReport(run.introduction()))
        return training.go()


def _claim(run: TrainingRun, resume: bool, resources: ExitStack) -> None:
    """Lock the run folder for all processes of this job, in the first of them."""
    if not run.world.is_first:
        return
    resources.enter_context(locked(run.folder))
    if not resume and is_run(run.folder):
        raise FitError(
            f"{run.folder}: now holds a run of another process; continue it with --resume, or choose another --out"
        )
    remove_leftovers(run.folder, TRAINING, STATES, LAST)


class _Training:
    """A training run in this process.

    Args:
        run: The run.
        observe: Receives the reports.
        resumes: Whether `resume` will load the weights.
    """

    def __init__(self, run: TrainingRun, observe: Observer, resumes: bool) -> None:
        self.run, self.observe, self.progress = run, observe, Progress()
        self.trained = TrainedModel(run, resumes)
        self.gradients = Gradients(
            run, self.trained.model, lambda choice: observe(MemoryReport(choice.summary())), self.trained.sharded
        )
        self.resumed = False
        self.unsettled: LaunchedStep | None = None
        self.page = RunPage(run, observe)

    def begin(self) -> None:
        """Write the first state, so that the run can be resumed."""
        self.trained.compare_first()
        state = self.trained.snapshot(copy=False)
        if not self.run.world.is_first:
            return
        with saving(self.run.folder):
            self._save_record()
            save_state(self.run.folder, state, self.progress)
            save_config(self.run.folder, self.run.config)

    def resume(self) -> None:
        """Load the last saved state that is whole."""
        self.progress = load_state(
            self.run.folder, self.trained.restore, lambda reason, step: self.observe(DamageReport(reason, step))
        )
        self.resumed = True
        if len(set(self.run.world.gather(self.progress.step))) > 1:
            raise FitError(f"{self.run.folder}: the processes see different files there; use a folder that they share")
        # Every process has read all files of the state, and compared them with their checksums.
        files = {f"the saved {name}": each for name, each in checksums(self.run.folder, self.progress.step).items()}
        self.trained.compare_restored(files)
        if not self.run.world.is_first:
            return
        with saving(self.run.folder):
            self._save_record()

    def go(self) -> Progress:
        """Train to the end."""
        run, progress = self.run, self.progress
        with (
            MetricsLog(run.folder, progress.step, progress.validated, self.observe)
            if run.world.is_first
            else NoLog() as self.log,
            Saver(
                run,
                self.trained.snapshot,
                self.log.sync,
                progress,
                writes=run.world.is_first,
                in_background=partial(has_room_for_copy, run),
            ) as self.saver,
            catch_stop_requests(partial(self.observe, StopReport()), run.deadline) as self.stop_requests,
            closing(self.gradients),
        ):
            known = {sample.path for sample in run.dataset.train + run.dataset.validation}
            logged = run.world.broadcast([(str(bad.path), str(bad.error)) for bad in self.log.bad_images])
            bad_images = [BadImage(Path(path), DataError(reason)) for path, reason in logged]
            run.bad_images.restore(bad for bad in bad_images if bad.path in known)
            try:
                if self.resumed:
                    # The process may have died after it saved the state, and before it published the weights.
                    self._save()
                    # Every start does at least one step, even after its deadline.
                    self._end_step(least=StopReason.REQUEST)
                for step in range(progress.step, run.total_steps):
                    self._step(step)
                    self._end_step()
                run.world.gather_results(self.saver.wait)
            except TooManyBadImages:
                self._report_bad_images(progress.step + 1, run.bad_images.take_pending())
                self._save()
                run.world.gather_results(self.saver.wait)
                raise
        return progress

    def _save_record(self) -> None:
        run = self.run
        save_record(run.folder, run.settings, run.config, run.dataset)
        save_plan(run.folder, run.plan)

    def _save(self) -> None:
        self._settle()
        # A snapshot needs all processes: first make sure that the one that writes has not failed.
        self.run.world.gather_results(self.saver.wait)
        self.saver.save(self.progress)

    def _end_step(self, least: StopReason = StopReason.TIME) -> None:
        """Validate and save if it is time to, and stop for a reason of at least `least`."""
        # The greatest of all processes, so that they stop after the same step.
        greatest = StopReason(max(self.run.world.gather(self.stop_requests.reason())))
        reason = greatest if greatest >= least else StopReason.NEVER
        self._validate_and_save(stops=reason != StopReason.NEVER)
        self._stop(reason)

    def _validate_and_save(self, stops: bool) -> None:
        """Validate at the end of an epoch; save the best weights so far, and at regular intervals."""
        run, progress = self.run, self.progress
        ends, better = _ends_epoch(run, progress.step), False
        # A run that stops leaves the validation to `resume`.
        if ends and run.dataset.validation and progress.validated < progress.step and not stops:
            self._settle()
            self.observe(ValidatingReport(len(run.dataset.validation)))
            report = self._validate_or_save()
            self._report(report, run.bad_images.take_pending())
            better = report.best
        if ends and not stops:
            # Reading a step early only for a page would let the device wait.
            if progress.step == run.total_steps:
                self._settle()
            self.page.write(progress, last=progress.step == run.total_steps)
        due = run.world.broadcast(self.saver.due(progress.step, ends))
        if due or better or progress.step == run.total_steps or stops:
            self._save()

    def _stop(self, reason: StopReason) -> None:
        run, progress = self.run, self.progress
        run.world.gather_results(self.saver.check)
        if reason != StopReason.NEVER:
            self.page.write(progress, last=True)
            run.world.gather_results(self.saver.wait)
        if reason == StopReason.REQUEST:
            raise KeyboardInterrupt(f"{run.folder} was saved, continue with --resume")
        if reason == StopReason.TIME:
            raise TimeLimitReached(
                f"{run.folder}: {progress.step} of {run.total_steps} steps at the time limit; continue with --resume"
            )

    def _report(self, entry: StepReport | ValidationReport, bad_images: list[BadImage]) -> None:
        self._report_bad_images(entry.step, bad_images)
        self.log(entry)
        self.observe(entry)

    def _report_bad_images(self, step: int, bad_images: list[BadImage]) -> None:
        for bad in bad_images:
            entry = BadImageReport(step=step, path=bad.path, reason=str(bad.error))
            self.log(entry)
            self.observe(entry)

    def _step(self, step: int) -> None:
        """Launch an optimizer step over `accumulate` batches, and settle the one before."""
        run, device = self.run, self.run.runtime.device
        began = Moment(device)
        try:
            results = self.gradients.accumulate(step)
        except FitError as error:
            # All processes have the error, unless one of them is gone.
            if not isinstance(error, PeerLost | UnrecoverableRankError):
                self._settle()
            raise
        bad_images = run.bad_images.take_pending()
        # The device has the passes of this step to do, so that it does not wait while the host reads.
        self._settle()
        rate = learning_rate(step, run.total_steps, run.settings)
        assert results.norm_on_device is not None
        self.trained.step(rate, results.norm_on_device)
        self.progress.step = step + 1
        self.unsettled = LaunchedStep(
            number=step + 1,
            results=results,
            learning_rate=rate,
            bad_images=bad_images,
            began=began,
            ended=Moment(device),
            peak_bytes=run.runtime.peak_bytes(),
        )
        if not runs_ahead(device):
            self._settle()

    def _settle(self) -> None:
        """Read, check and report the step that was launched last, and add its weights to their average; collective."""
        launched, self.unsettled = self.unsettled, None
        if launched is None:
            return
        self._report(launched.report(self.run), launched.bad_images)
        self.trained.add_to_average(launched.number)

    def _validate_or_save(self) -> ValidationReport:
        """Validate; if memory runs out, save before the run ends. A resumed run begins with the validation."""
        try:
            return self._validate()
        except OutOfMemory as error:
            failed = OutOfMemory(f"validation: {error}; {self.run.folder} was saved, continue with --resume")
            failed.shared = error.shared
        self._save()
        self.run.world.gather_results(self.saver.wait)
        raise failed

    def _validate(self) -> ValidationReport:
        """Validate the weights that inference will use: their moving average if the run keeps one."""
        progress = self.progress
        self.gradients.release()
        checkpoint = self.trained.for_inference()
        validation = self.gradients.objective.validate(checkpoint)
        check_finite("validation loss", validation.loss, self.run.folder, progress.step)
        self.page.look(checkpoint, validation, last=progress.step == self.run.total_steps)
        self.trained.model.train()
        judged_on = self.run.dataset.validation_fingerprint
        best = progress.add_validation(validation.rank, validation.headline, judged_on, validation.decisions)
        return ValidationReport(
            step=progress.step, loss=validation.loss, scores=validation.scores, best=best, headline=validation.headline
        )


def _ends_epoch(run: TrainingRun, step: int) -> bool:
    """Return whether an epoch or the run ends after `step` steps."""
    return step == run.total_steps or (step > 0 and run.settings.ends_epoch(step - 1, len(run.dataset.train)))
