"""The training loop: what happens, in the order in which it happens.

Knows no command line and prints nothing: reports go to `observe`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fitcli.checkpoints import Checkpoint, TaskModel
from fitcli.errors import FitError
from fitcli.run_config import is_run, save_config
from fitcli.training.bad_images import TooManyBadImages
from fitcli.training.batch import Batch
from fitcli.training.begun import save_settings
from fitcli.training.ema import Ema
from fitcli.training.gradients import Gradients
from fitcli.training.interruption import interruptions
from fitcli.training.loader import Loader
from fitcli.training.lock import locked
from fitcli.training.memory import save_plan
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from fitcli.training.reports import (
    BadImageReport,
    DamageReport,
    MemoryReport,
    MetricsLog,
    Report,
    StepReport,
    StopReport,
    ValidationReport,
)
from fitcli.training.run import TrainingRun
from fitcli.training.saving import Saver
from fitcli.training.state import Progress, restore, snapshot
from fitcli.training.states import load_state, save_state
from fitcli.training.task import Objective
from models.build import build

Observer = Callable[[Report], None]

NAMED = 4
"""Images that an error names: with small batches all that it can be about."""


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
        FitError: The loss is no number any more; what was saved before is still there. Or another process trains there.
        TooManyBadImages: More images cannot be used than the settings allow; the run was saved and can be resumed.
    """
    with locked(run.folder):
        if not resume and is_run(run.folder):
            raise FitError(f"{run.folder}: holds a run by now; continue it with --resume, or choose another --out")
        return _train(run, observe, resume)


def _train(run: TrainingRun, observe: Observer, resume: bool) -> Progress:
    # The model, its optimizer and average, and where they were left.
    settings, device = run.settings, run.runtime.device
    model: TaskModel = build(run.config.model, device, seed=settings.seed).train()
    optimizer = build_optimizer(model, settings)
    ema = Ema(model, settings.ema_decay) if settings.ema_decay else None
    average = None if ema is None else ema.model
    gather = partial(snapshot, model, optimizer, average)
    progress = Progress()
    if resume:
        use = partial(restore, model=model, optimizer=optimizer, average=average)
        progress = load_state(run.folder, use, lambda reason: observe(DamageReport(reason)))

    # The run folder, from here on a run that can be resumed.
    save_settings(run.folder, settings, run.dataset.fingerprint)
    save_plan(run.folder, run.plan)
    if not resume:
        save_state(run.folder, gather(copy=False), progress)
        save_config(run.folder, run.config)

    gradients = Gradients(run, model, lambda choice: observe(MemoryReport(choice.summary())))
    batches = _batches(run, gradients.objective, progress.step)
    stopping = partial(observe, StopReport())
    with (
        MetricsLog(run.folder, progress.step) as log,
        Saver(run, gather, log.sync, progress) as saver,
        interruptions(stopping) as interruption,
    ):

        def report(entry: StepReport | ValidationReport) -> None:
            tell_bad_images(entry.step)
            log(entry)
            observe(entry)

        def tell_bad_images(step: int) -> None:
            for bad in run.bad_images.untold():
                entry = BadImageReport(step=step, path=bad.path, reason=str(bad.error))
                log(entry)
                observe(entry)

        def look_and_save() -> None:
            """At the end of an epoch, see how good it is; save when it is time to, and what is the best so far."""
            ends, better = _ends_epoch(run, progress.step), False
            # Where someone asked to stop, that waits for `resume`.
            if ends and run.dataset.validation and progress.validated < progress.step and not interruption.requested:
                found = _validate(run, gradients.objective, model, average, progress)
                report(found)
                better = found.best
            ended = progress.step == run.total_steps
            if saver.due(progress.step, ends) or better or ended or interruption.requested:
                saver.save(progress)

        try:
            if resume:
                saver.save(progress)
                look_and_save()
            for step in range(progress.step, run.total_steps):
                report(_step(run, model, optimizer, gradients, batches, step))
                progress.step = step + 1
                if ema is not None:
                    ema.update(model, progress.step)
                look_and_save()
                saver.check()
                if interruption.requested:
                    saver.wait()
                    raise KeyboardInterrupt(f"{run.folder} was saved, continue with --resume")
        except TooManyBadImages:
            tell_bad_images(progress.step + 1)
            saver.save(progress)
            saver.wait()
            raise
    return progress


def _ends_epoch(run: TrainingRun, step: int) -> bool:
    """Whether an epoch, or the run, is over after this many steps."""
    return step == run.total_steps or (step > 0 and run.settings.ends_epoch(step - 1, len(run.dataset.train)))


def _batches(run: TrainingRun, objective: Objective, step: int) -> Iterator[Batch]:
    settings = run.settings
    loader = Loader(run.dataset.train, settings, run.config.preprocessing, objective.layout, bad_images=run.bad_images)
    return loader.batches(step * settings.accumulate, run.total_steps * settings.accumulate)


def _step(
    run: TrainingRun,
    model: TaskModel,
    optimizer: torch.optim.Optimizer,
    gradients: Gradients,
    batches: Iterator[Batch],
    step: int,
) -> StepReport:
    """One optimizer step over `accumulate` batches."""
    settings, runtime = run.settings, run.runtime
    began = time.perf_counter()
    found = gradients.accumulate(batches)
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip or math.inf)
    _check_finite("loss", found.loss, run, step + 1, found.paths)
    _check_finite("gradient", float(norm), run, step + 1, found.paths)
    rate = learning_rate(step, run.total_steps, settings)
    set_learning_rate(optimizer, rate)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - began
    return StepReport(
        step=step + 1,
        epoch=(step + 1) * settings.images_per_step / len(run.dataset.train),
        loss=found.loss,
        learning_rate=rate,
        gradient_norm=float(norm),
        images_per_second=settings.images_per_step / seconds,
        patches_per_second=found.patches / seconds,
        data_wait=found.waited / seconds,
        peak_bytes=runtime.peak_bytes(),
        scores={name: total / settings.images_per_step for name, total in found.scores.items()},
    )


def _check_finite(name: str, value: float, run: TrainingRun, step: int, paths: Sequence[Path] = ()) -> None:
    if not math.isfinite(value):
        more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
        files = f", on {', '.join(map(str, paths[:NAMED]))}{more}" if paths else ""
        raise FitError(
            f"the {name} became {value} in step {step}{files}; start again with a lower --learning-rate "
            f"(what {run.folder} saved before is still there)"
        )


def _validate(
    run: TrainingRun, objective: Objective, model: TaskModel, average: TaskModel | None, progress: Progress
) -> ValidationReport:
    """Look at the validation images with what is to be used later: the average of the weights where there is one."""
    found = objective.validate(Checkpoint(average or model.eval(), run.config))
    model.train()
    _check_finite("validation loss", found.loss, run, progress.step)
    progress.validated = progress.step
    best = not progress.best or found.rank > progress.best
    if best:
        progress.best, progress.best_step, progress.said = found.rank, progress.step, found.said
    return ValidationReport(step=progress.step, loss=found.loss, scores=found.scores, best=best, said=found.said)
