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

from fitcli.checkpoints import EMA_WEIGHTS, Checkpoint, TaskModel, save_weights, start_from
from fitcli.errors import FitError
from fitcli.run_config import is_run, save_config
from fitcli.training.bad_images import TooManyBadImages
from fitcli.training.batch import Batch
from fitcli.training.ema import Ema
from fitcli.training.gradients import Gradients
from fitcli.training.interruption import Interruption, interruptions
from fitcli.training.loader import Loader
from fitcli.training.lock import locked
from fitcli.training.memory import save_plan
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from fitcli.training.reports import (
    BadImageReport,
    MemoryReport,
    MetricsLog,
    Report,
    StepReport,
    StopReport,
    ValidationReport,
)
from fitcli.training.run import TrainingRun
from fitcli.training.state import Progress, load_state, save_settings, save_state
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
    if settings.start_from is not None and not resume:
        start_from(Path(settings.start_from), model, settings.task)
    optimizer = build_optimizer(model, settings)
    ema = Ema(model, settings.ema_decay) if settings.ema_decay else None
    average = None if ema is None else ema.model
    progress = load_state(run.folder, model, optimizer, device, average) if resume else Progress()

    # The run folder, from here on a run that can be resumed.
    save_settings(run.folder, settings, run.dataset.fingerprint)
    save_plan(run.folder, run.plan)
    if not resume:
        save_state(run.folder, model, optimizer, progress, average)
        save_config(run.folder, run.config)

    gradients = Gradients(run, model, lambda choice: observe(MemoryReport(choice.summary())))
    batches = _batches(run, gradients.objective, progress.step)
    stopping = partial(observe, StopReport())
    with MetricsLog(run.folder, progress.step) as log, interruptions(stopping) as interruption:

        def report(entry: StepReport | ValidationReport) -> None:
            tell_bad_images()
            log(entry)
            observe(entry)

        def tell_bad_images() -> None:
            for bad in run.bad_images.untold():
                entry = BadImageReport(step=progress.step + 1, path=bad.path, reason=str(bad.error))
                log(entry)
                observe(entry)

        def look() -> None:
            """See how good it is, which waits for `resume` where someone asked to stop; and save."""
            if run.dataset.validation and progress.validated < progress.step and not interruption.requested:
                report(_validate(run, gradients.objective, model, average, progress))
            _save(run, model, optimizer, progress, average)

        try:
            if _is_due(run, progress.step):
                look()
            for step in range(progress.step, run.total_steps):
                report(_step(run, model, optimizer, gradients, batches, step))
                progress.step = step + 1
                if ema is not None:
                    ema.update(model, progress.step)
                if _is_due(run, progress.step) or interruption.requested:
                    look()
                _stop_if(interruption, run)
        except TooManyBadImages:
            tell_bad_images()
            _save(run, model, optimizer, progress, average)
            raise
    return progress


def _is_due(run: TrainingRun, step: int) -> bool:
    """Whether to validate and save after this many steps: at the end of each epoch and of the run."""
    return step == run.total_steps or (step > 0 and run.settings.ends_epoch(step - 1, len(run.dataset.train)))


def _stop_if(interruption: Interruption, run: TrainingRun) -> None:
    if interruption.requested:
        raise KeyboardInterrupt(f"{run.folder} was saved, continue with --resume")


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
    """Look at the validation images with what is to be used later: the average of the weights where there is one.

    A model that is better than all before it becomes the run's model.
    """
    found = objective.validate(Checkpoint(average or model.eval(), run.config))
    model.train()
    _check_finite("validation loss", found.loss, run, progress.step)
    progress.validated = progress.step
    best = not progress.best or found.rank > progress.best
    if best:
        progress.best, progress.said = found.rank, found.said
        _save_weights(run.folder, model, average)
    return ValidationReport(step=progress.step, loss=found.loss, scores=found.scores, best=best, said=found.said)


def _save(
    run: TrainingRun, model: TaskModel, optimizer: torch.optim.Optimizer, progress: Progress, average: TaskModel | None
) -> None:
    """Save what resuming needs, and the last weights as a run folder of their own."""
    save_state(run.folder, model, optimizer, progress, average)
    last = run.folder / "last"
    last.mkdir(exist_ok=True)
    save_config(last, run.config)
    _save_weights(last, model, average)
    if not progress.best:
        _save_weights(run.folder, model, average)


def _save_weights(folder: Path, model: TaskModel, average: TaskModel | None) -> None:
    save_weights(folder, model)
    if average is not None:
        save_weights(folder, average, EMA_WEIGHTS)
