"""The training loop: what happens, in the order in which it happens.

Knows no command line and prints nothing: reports go to `observe`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fitcli.checkpoints import Checkpoint, RunConfig, save_config, save_weights
from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.runtime import Runtime
from fitcli.training.dataset import Dataset
from fitcli.training.interruption import Interruption, interruptions
from fitcli.training.loader import Batch, Loader
from fitcli.training.objectives import ClassificationObjective, balanced_weights
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from fitcli.training.reports import MetricsLog, Report, StepReport, StopReport, ValidationReport
from fitcli.training.settings import TrainSettings
from fitcli.training.state import Progress, load_state, save_settings, save_state
from fitcli.training.validation import validate
from models.build import build
from models.encoder import FITClassifier

Observer = Callable[[Report], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """Everything that a training run is given.

    Attributes:
        folder: Where it is saved.
        config: Model, preprocessing and classes.
        settings: How to train.
        dataset: On what.
        runtime: Where.
        plan: How each step is executed.
    """

    folder: Path
    config: RunConfig
    settings: TrainSettings
    dataset: Dataset
    runtime: Runtime
    plan: ExecutionPlan = field(default_factory=ExecutionPlan)

    @property
    def total_steps(self) -> int:
        """Optimizer steps from the beginning to the end."""
        return self.settings.total_steps(len(self.dataset.train))

    def summary(self) -> str:
        """One line on what will be trained on what."""
        parameters = sum(p.numel() for p in build(self.config.model, "meta").parameters())
        return (
            f"{self.settings.preset}: {parameters / 1e6:.1f} M parameters, {len(self.config.classes)} classes, "
            f"{len(self.dataset.train)} images to train on, {len(self.dataset.validation)} to validate, "
            f"{self.total_steps} steps on {self.runtime.device} in {self.runtime.precision}"
        )


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
        FitError: The loss is no number any more; what was saved before is still there.
        ImageError, DataError: An image cannot be read.
    """
    # The model, its optimizer, and where they were left.
    settings, device = run.settings, run.runtime.device
    model = build(run.config.model, device, seed=settings.seed).train()
    optimizer = build_optimizer(model, settings)
    objective = _objective(run)
    progress = load_state(run.folder, model, optimizer, device) if resume else Progress()

    # The run folder, from here on a run that can be resumed.
    run.folder.mkdir(parents=True, exist_ok=True)
    save_settings(run.folder, settings, run.dataset.fingerprint)
    if not resume:
        save_state(run.folder, model, optimizer, progress)
        save_config(run.folder, run.config)

    batches = _batches(run, progress.step)
    stopping = partial(observe, StopReport())
    with MetricsLog(run.folder, progress.step) as log, interruptions(stopping) as interruption:

        def report(entry: StepReport | ValidationReport) -> None:
            log(entry)
            observe(entry)

        def look() -> None:
            """See how good it is, which waits for `resume` where someone asked to stop; and save."""
            if run.dataset.validation and progress.validated < progress.step and not interruption.requested:
                report(_validate(run, model, progress))
            _save(run, model, optimizer, progress)

        if _is_due(run, progress.step):
            look()
        for step in range(progress.step, run.total_steps):
            report(_step(run, model, optimizer, objective, batches, step))
            progress.step = step + 1
            if _is_due(run, progress.step) or interruption.requested:
                look()
            _stop_if(interruption, run)
    return progress


def _is_due(run: TrainingRun, step: int) -> bool:
    """Whether to validate and save after this many steps: at the end of each epoch and of the run."""
    return step == run.total_steps or (step > 0 and run.settings.ends_epoch(step - 1, len(run.dataset.train)))


def _stop_if(interruption: Interruption, run: TrainingRun) -> None:
    if interruption.requested:
        raise KeyboardInterrupt(f"{run.folder} was saved, continue with --resume")


def _objective(run: TrainingRun) -> ClassificationObjective:
    settings, device, preprocessing = run.settings, run.runtime.device, run.config.preprocessing
    labels = torch.tensor([sample.label for sample in run.dataset.train])
    weights = balanced_weights(labels, len(run.config.classes)).to(device) if settings.balance else None
    return ClassificationObjective(
        torch.tensor(preprocessing.mean, device=device),
        torch.tensor(preprocessing.std, device=device),
        weights,
        settings.label_smoothing,
    )


def _batches(run: TrainingRun, step: int) -> Iterator[Batch]:
    model, settings = run.config.model, run.settings
    loader = Loader(run.dataset.train, settings, run.config.preprocessing, model.patch, model.group)
    return loader.batches(step * settings.accumulate, run.total_steps * settings.accumulate)


def _step(
    run: TrainingRun,
    model: FITClassifier,
    optimizer: torch.optim.Optimizer,
    objective: ClassificationObjective,
    batches: Iterator[Batch],
    step: int,
) -> StepReport:
    """One optimizer step over `accumulate` batches."""
    settings, runtime = run.settings, run.runtime
    began, waited = time.perf_counter(), 0.0
    loss_sum, right, patches = 0.0, 0, 0
    for _ in range(settings.accumulate):
        asked = time.perf_counter()
        batch = next(batches).to(runtime.device)
        waited += time.perf_counter() - asked
        with runtime.autocast():
            outcome = run_job(objective.job(model, batch), run.plan, 1 / settings.accumulate)
        assert outcome.output is not None
        loss_sum += outcome.loss.item() / settings.accumulate
        right += int((outcome.output.argmax(dim=-1) == batch.labels).sum())
        patches += int(batch.groups.mask.sum()) if batch.groups.mask is not None else batch.patches[..., 0].numel()
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip or math.inf)
    _check_finite("loss", loss_sum, run, step + 1)
    _check_finite("gradient", float(norm), run, step + 1)
    rate = learning_rate(step, run.total_steps, settings)
    set_learning_rate(optimizer, rate)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - began
    return StepReport(
        step=step + 1,
        epoch=(step + 1) * settings.images_per_step / len(run.dataset.train),
        loss=loss_sum,
        accuracy=right / settings.images_per_step,
        learning_rate=rate,
        gradient_norm=float(norm),
        images_per_second=settings.images_per_step / seconds,
        patches_per_second=patches / seconds,
        data_wait=waited / seconds,
        peak_bytes=runtime.peak_bytes(),
    )


def _check_finite(name: str, value: float, run: TrainingRun, step: int) -> None:
    if not math.isfinite(value):
        raise FitError(
            f"the {name} became {value} in step {step}; start again with a lower --learning-rate "
            f"(what {run.folder} saved before is still there)"
        )


def _validate(run: TrainingRun, model: FITClassifier, progress: Progress) -> ValidationReport:
    """Score the validation images; a model that is better than all before it becomes the run's model."""
    scores = validate(
        Checkpoint(model.eval(), run.config), run.dataset.validation, run.runtime, run.settings.background
    )
    model.train()
    _check_finite("validation loss", scores.loss, run, progress.step)
    progress.validated = progress.step
    best = (scores.accuracy, -scores.loss) > (progress.best_accuracy, -progress.best_loss)
    if best:
        progress.best_accuracy, progress.best_loss = scores.accuracy, scores.loss
        save_weights(run.folder, model)
    return ValidationReport(step=progress.step, best=best, **scores._asdict())


def _save(run: TrainingRun, model: FITClassifier, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Save what resuming needs, and the last weights as a run folder of their own."""
    save_state(run.folder, model, optimizer, progress)
    last = run.folder / "last"
    last.mkdir(exist_ok=True)
    save_config(last, run.config)
    save_weights(last, model)
    if progress.best_accuracy < 0:
        save_weights(run.folder, model)
