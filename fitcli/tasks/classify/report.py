"""What reports show of a classifier: curves of each target, and images with the evidence for their answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fitcli.data.column_kinds import Answer
from fitcli.data.dataset import Sample
from fitcli.images.base import ImageReader
from fitcli.images.encoded_picture import shrunk
from fitcli.images.small_view import small_view
from fitcli.reports.parts import RGB, Case, Lines, Part, Picture, Section
from fitcli.runs.targets import Target
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.classify.classify_image import Classification, classify_image
from fitcli.tasks.classify.color_scale import EVIDENCE
from fitcli.tasks.classify.heatmap import overlay
from fitcli.tasks.classify.image_losses import image_loss
from fitcli.tasks.classify.patch_map import evidence_map, present_patches
from fitcli.tasks.classify.targets.kind import Numbers
from fitcli.tasks.classify.targets.kinds import kind_of, known_answers, prediction_slices
from fitcli.tasks.task_report import LONGEST_SIDE, Scored
from models.encoder import FITClassifier
from models.heads import gives_evidence

MOST_NAMED = 4
"""Most targets whose answers stand beside an image."""

LEGEND = {
    0.0: "no evidence", 1.0: "the even share", 10.0: "10 times the even share", 100.0: "100 times or more"
}  # fmt: skip
"""Evidence whose colours the legend names, times the even share."""


class ClassificationReport(Assessment[FITClassifier]):
    """Shows a classifier; see `TaskReport` and `Assessment` for the members."""

    def sections(self, scored: Scored) -> list[Section]:
        """Return a section per target."""
        targets = self._targets
        parts = prediction_slices(targets)
        sections = []
        for number, (target, part) in enumerate(zip(targets, parts, strict=True)):
            answers = [self._answers(sample)[number] for sample, _ in scored]
            predictions, known = known_answers(target, [row[part] for _, row in scored], answers)
            shown: list[Part] = [Lines([f"{len(scored) - len(known)} images without an answer are left out"])]
            shown = shown[: len(known) < len(scored)]
            shown += kind_of(target).report(target, predictions, known) if known else []
            title = f"Answers to {target.name}" if self.checkpoint.config.targets else "Answers"
            sections.append(Section(title, shown))
        return sections

    def badness(self, sample: Sample, row: list[float]) -> float:
        """Return the loss of an image."""
        predictions = [row[part] for part in prediction_slices(self._targets)]
        return image_loss(self._targets, predictions, self._answers(sample))

    def case(self, image: ImageReader, sample: Sample, row: list[float] | None = None) -> Case:
        """Return an image beside the evidence for its first target, if the head of the model gives any."""
        shown = gives_evidence(self.checkpoint.model.head)
        result = classify_image(self.checkpoint, image, self.runtime, self.settings, keep_evidence=shown)
        predictions, answers = result.target_probabilities, self._answers(sample)
        texts = [
            _answer_text(target, prediction, answer, named=bool(self.checkpoint.config.targets))
            for target, prediction, answer in zip(self._targets, predictions, answers, strict=True)
        ]
        loss = image_loss(self._targets, predictions, answers)
        more = ["..."] if len(texts) > MOST_NAMED else []
        text = "; ".join([*texts[:MOST_NAMED], *more, f"loss {loss:.3f}"])
        name = f" for {self._targets[0].name}" if len(self._targets) > 1 else ""
        pictures = [Picture(small_view(image, LONGEST_SIDE), "image")]
        if shown:
            pictures.append(Picture(_evidence(image, result), f"evidence{name}"))
        return Case(str(sample.path), text, pictures)

    def samples(self) -> Iterator[Picture]:
        """Yield nothing."""
        return iter(())

    def colors(self) -> list[tuple[RGB, str]]:
        """Return the colours of some values of the evidence, over an image of a middle grey."""
        if not gives_evidence(self.checkpoint.model.head):
            return []
        drawn = EVIDENCE.blend(np.full((1, len(LEGEND), 1), 128, np.float32), np.array([[*LEGEND]], np.float32))[0]
        return [(_rgb(color), name) for color, name in zip(drawn, LEGEND.values(), strict=True)]

    @property
    def _targets(self) -> Sequence[Target]:
        return self.checkpoint.config.class_targets

    def _answers(self, sample: Sample) -> Sequence[Answer]:
        """Return the answer of an image to each target."""
        if self.checkpoint.config.targets:
            answers: Sequence[Answer] = sample.target
            return answers
        return ((sample.target,),)


def _rgb(color: NDArray[np.float32]) -> RGB:
    red, green, blue = (round(float(value)) for value in color)
    return red, green, blue


def _answer_text(target: Target, prediction: Numbers, answer: Answer, named: bool) -> str:
    """Return truth and answer of a target in words."""
    kind = kind_of(target)
    known = answer or kind.may_be_empty
    truth = " ".join(kind.cells(target, answer)).strip() or "none" if known else "not known"
    sure = f" ({prediction.max():.1%})" if target.is_single and kind.names_classes else ""
    label = f"{target.name}: " if named else ""
    return f"{label}is {truth}, found {kind.text(target, prediction) or 'none'}{sure}"


def _evidence(image: ImageReader, result: Classification) -> NDArray[np.uint8]:
    values = evidence_map(result)
    present = present_patches(image, result.grid)
    if present is not None:
        values[~present] = np.nan
    return shrunk(overlay(image, values, result.grid, longest=LONGEST_SIDE * 2), LONGEST_SIDE)
