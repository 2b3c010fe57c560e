"""Classes of whole images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.batch import Batch, padded
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset
from fitcli.data.read_item import Layout
from fitcli.data.survey import Survey
from fitcli.device.transfer import to_device
from fitcli.errors import FitError
from fitcli.execution.drop_path import draw_drop_path
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import normalize
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.runs.train_settings import TrainSettings
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.classify.losses import balanced_task_weights, loss_of_tasks, right
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.task import DeferredScores, Objective, Validation
from fitcli.tasks.validation import named_accuracies, validate, validation_bytes
from models.config import ClassifierConfig
from models.encoder import FITClassifier
from models.presets import classifier_preset


class Classify:
    """`--task classify`."""

    @property
    def labels(self) -> Labels:
        """There is nothing else to learn."""
        return "needed"

    def check(self, settings: TrainSettings) -> None:
        """See `Task.check`."""
        classifier_preset(settings.preset, channels=1, classes=2, patch=settings.patch)

    def describe(self, settings: TrainSettings, dataset: Dataset, survey: Survey) -> RunConfig:
        """See `Task.describe`."""
        channels, classes = survey.preprocessing.channels, dataset.classes
        model = classifier_preset(settings.preset, channels, len(classes), settings.patch)
        if tasks := dataset.tasks:
            counts = tuple(len(task.classes) for task in tasks)
            model = replace(model, classes=sum(counts), targets=counts)
        preprocessing = replace(survey.preprocessing, background=settings.background)
        return RunConfig(task="classify", model=model, preprocessing=preprocessing, classes=classes, tasks=tasks)

    def objective(self, run: TrainingRun) -> Objective:
        """See `Task.objective`."""
        settings, device, preprocessing = run.settings, run.runtime.device, run.config.preprocessing
        if settings.balance and run.config.tasks and run.world.data.size > 1:
            raise FitError("--balance: the classes of several tasks are weighed by one process alone; leave it out")
        weights = _weights(run) if settings.balance else None
        return ClassificationObjective(
            torch.tensor(preprocessing.mean, device=device),
            torch.tensor(preprocessing.std, device=device),
            weights,
            settings.label_smoothing,
            run,
            run.config.tasks,
            settings.drop_path,
            settings.seed,
        )


@dataclass(frozen=True, slots=True)
class ClassificationObjective:
    """Cross-entropy of whole images.

    Attributes:
        mean, std: [channels] of the training pixels, on the device of the model.
        weights: [k] of the classes in the loss, in host memory; None for equal ones.
        smoothing: Share of each target that is spread over all classes.
        run: What it is for.
        tasks: What is asked, where that is more than one class of one kind.
        drop_path: Rate of the last layer, see `draw_drop_path`.
        seed: Of what is left out.
    """

    mean: Tensor
    std: Tensor
    weights: Tensor | None
    smoothing: float
    run: TrainingRun
    tasks: tuple[Target, ...] = ()
    drop_path: float = 0.0
    seed: int = 0

    @property
    def layout(self) -> Layout:
        """Padded to whole groups."""
        model = cast(ClassifierConfig, self.run.config.model)
        return Layout(patch=model.patch, group=model.group)

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """The mean loss over the images of a batch; puts out their logits [b k].

        Of the pixels only their bytes are kept: they are normalised where they are embedded.
        """

        def patches(part: slice) -> Tensor:
            return normalize(batch.part(part), self.mean, self.std) * batch.gain[part] + batch.shift[part]

        def loss(logits: Tensor) -> Tensor:
            exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
            weights = None if self.weights is None else to_device(self.weights.to(exact.dtype), exact.device)
            if self.tasks:
                return loss_of_tasks(exact, batch.targets, self.tasks, weights, self.smoothing)
            return F.cross_entropy(exact, batch.labels, weights, label_smoothing=self.smoothing)

        classifier, drop_path = cast(FITClassifier, model), None
        if self.drop_path:
            trunk = classifier.encoder.trunk
            drop_path = draw_drop_path(trunk, batch.groups, batch.showings, self.drop_path, self.seed)
        return classification_job(classifier, batch.groups, patches, loss, drop_path)

    def weight(self, batch: Batch) -> float:
        """See `Objective.weight`: cross-entropy is divided by the weights of the labels."""
        if self.weights is None or self.tasks:
            return len(batch.labels)
        return float(self.weights[batch.on_host.labels].sum(dtype=torch.float64))

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Images classified rightly; with several tasks in each, and on average.

        One of the processes that share images counts them.
        """
        assert outcome.output is not None
        if batch.groups.share is not None and batch.groups.share.rank > 0:
            return None
        if self.tasks:
            counts = right(outcome.output, batch.targets, self.tasks).sum(dim=0)
            return DeferredScores(counts, partial(named_accuracies, self.tasks))
        count = (outcome.output.argmax(dim=-1) == batch.labels).sum()
        return DeferredScores(count, lambda values: {"accuracy": values[0]})

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Whole images, by the code that `fit classify` runs; accuracy decides, and the loss where that is equal."""
        run = self.run
        found = validate(
            cast(Checkpoint[FITClassifier], checkpoint),
            run.dataset.validation,
            run.runtime,
            run.bad_images,
            run.world,
            EncodingSettings(memory_bytes=validation_bytes(run)),
        )
        return Validation(
            loss=found.loss,
            scores={"accuracy": found.accuracy, "balanced_accuracy": found.balanced_accuracy, **(found.tasks or {})},
            rank=(found.accuracy, -found.loss),
            said=("accuracy", f"{found.accuracy:.1%}"),
        )


def _weights(run: TrainingRun) -> Tensor:
    """Of all classes, balanced over the training images."""
    samples, tasks = run.dataset.train, run.config.tasks
    if tasks:
        return balanced_task_weights(padded([sample.targets for sample in samples]), tasks)
    return balanced_weights(torch.tensor([sample.label for sample in samples]), len(run.config.classes))


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights [k] that give all classes the same say: inverse frequencies, 1 on average over the images."""
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))
