"""The training objective of a classifier: cross-entropy over whole images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
from torch import Tensor

from fitcli.data.batch import Batch
from fitcli.data.place import Layout
from fitcli.data.read_item import Reading
from fitcli.device.transfer import to_device
from fitcli.execution.job import Job, Outcome
from fitcli.execution.plan import ExecutionPlan
from fitcli.patches.cutting import statistics
from fitcli.runs.targets import Target
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.class_targets import ClassLabels
from fitcli.tasks.classify.config import sharpening_document
from fitcli.tasks.classify.losses import LOSSES, ClassLoss, foreign_errors, mean_cross_entropy, one_number
from fitcli.tasks.classify.options import ClassifyOptions
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.classify.targets.joint_loss import balanced_target_weights, correct_targets, loss_of_targets
from fitcli.tasks.classify.targets.kinds import kind_of
from fitcli.tasks.classify.targets.rows import AnswerRows, answer_rows, target_reader
from fitcli.tasks.classify.validation import named_accuracies, validate
from fitcli.tasks.context import TrainingRun, place_rules
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.training_input import augmented_patches, layers_to_skip
from fitcli.tasks.task import DeferredScores, Validation
from fitcli.tasks.validation_memory import validation_bytes
from models.config import ClassifierConfig
from models.encoder import FITClassifier


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationObjective:
    """Cross-entropy of whole images; see `Objective` for its members.

    Attributes:
        mean, std: Mean and standard deviation of the training pixels, [channels], on the device of the model.
        weights: Class weights of the loss [k], in host memory; None for equal weights.
        run: The run that is trained.
        class_loss: Loss of one class per image, that of `--loss`.
    """

    mean: Tensor
    std: Tensor
    weights: Tensor | None
    run: TrainingRun
    class_loss: ClassLoss = mean_cross_entropy

    counts_own_groups: ClassVar[bool] = False

    @property
    def options(self) -> ClassifyOptions:
        """Options of the task."""
        return cast(ClassifyOptions, self.run.settings.options)

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, if there are several or one is multi-label; else empty."""
        return self.run.config.targets

    @property
    def reading(self) -> Reading:
        """How the images of the run are read."""
        model, options = cast(ClassifierConfig, self.run.config.model), self.options
        return Reading(
            layout=Layout(patch=model.patch, group=model.group),
            rules=place_rules(
                self.run,
                shift_canvas=options.shift_canvas,
                token_dropout=options.token_dropout,
                hide_equally=self.run.config.preprocessing.rules > 1,
                background=options.background,
            ),
            preprocessing=self.run.config.preprocessing,
            targets=target_reader(self.targets),
        )

    def job(self, model: TaskModel, batch: Batch, plan: ExecutionPlan | None = None) -> Job:
        """Return the step of the mean loss over the images of a batch. Its output is the logits [b k]."""

        def loss(logits: Tensor) -> Tensor:
            exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
            weights = None if self.weights is None else to_device(self.weights.to(exact.dtype), exact.device)
            smoothing = self.options.label_smoothing
            if self.targets:
                return loss_of_targets(exact, _rows(batch), self.targets, weights, smoothing)
            name = self.options.loss
            with foreign_errors(name):
                value = self.class_loss(exact, _labels(batch), weights, smoothing)
            return one_number(value, name, exact)

        classifier = cast(FITClassifier, model)
        patches = augmented_patches(batch, self.mean, self.std)
        skipped = layers_to_skip(classifier.encoder, batch, self.options.drop_path, self.run.settings.seed)
        return classification_job(classifier, batch.groups, patches, loss, skipped)

    def weight(self, batch: Batch) -> float:
        """Return the divisor of the loss of a batch: its number of images."""
        return batch.images

    def scores(self, batch: Batch, outcome: Outcome) -> DeferredScores | None:
        """Count the images that are classified correctly, by target and on average if there are several targets.

        Targets that name no classes have no such count.

        If several processes share the images, only the first one counts them.
        """
        assert outcome.output is not None
        if batch.groups.share is not None and batch.groups.share.rank > 0:
            return None
        if self.targets:
            named = [target for target in self.targets if kind_of(target).names_classes]
            if not named:
                return None
            counts = correct_targets(outcome.output, _rows(batch), self.targets).sum(dim=0)
            return DeferredScores(counts, partial(named_accuracies, named))
        count = (outcome.output.argmax(dim=-1) == _labels(batch)).sum()
        return DeferredScores(count, lambda values: {"accuracy": values[0]})

    def validate(self, checkpoint: Checkpoint[TaskModel]) -> Validation:
        """Score whole images with the code of `fit classify`."""
        run = self.run
        scores = validate(
            cast(Checkpoint[FITClassifier], checkpoint),
            run.dataset.validation,
            run.runtime,
            run.bad_images,
            run.world,
            EncodingSettings(memory_bytes=validation_bytes(run), plans={}),
        )
        return Validation(
            loss=scores.loss,
            scores=scores.named,
            rank=scores.rank(self.options.best_by),
            headline=scores.headline(),
            decisions={"thresholds": scores.thresholds, "sharpening": sharpening_document(scores.sharpening)},
            badness=scores.losses,
        )


def classification_objective(run: TrainingRun) -> ClassificationObjective:
    """Return the objective of a run."""
    mean, std = statistics(run.config.preprocessing, run.runtime.device)
    options = cast(ClassifyOptions, run.settings.options)
    return ClassificationObjective(
        mean=mean,
        std=std,
        weights=_weights(run) if options.balance else None,
        class_loss=LOSSES.find(options.loss),
        run=run,
    )


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Return class weights [k]: inverse frequencies, with mean 1 over the images."""
    counts = torch.bincount(labels, minlength=classes).float()
    return len(labels) / (classes * counts.clamp(min=1))


def _weights(run: TrainingRun) -> Tensor:
    """Return class weights [k], balanced over the training images."""
    samples, targets = run.dataset.train, run.config.targets
    if targets:
        return balanced_target_weights(answer_rows(targets, [sample.target for sample in samples]), targets)
    return balanced_weights(torch.tensor([sample.target for sample in samples]), len(run.config.classes))


def _labels(batch: Batch) -> Tensor:
    """Return the class of each image, [b]."""
    assert isinstance(batch.target, ClassLabels)
    return batch.target.numbers


def _rows(batch: Batch) -> Tensor:
    """Return the answers of each image to all targets, [b w]."""
    assert isinstance(batch.target, AnswerRows)
    return batch.target.rows
