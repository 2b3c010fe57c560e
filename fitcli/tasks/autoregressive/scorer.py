"""Scores an autoregressive model on the images of a data set, for `fit evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.images.base import ImageReader
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.scores import Bits, image_bits
from fitcli.tasks.autoregressive.sequences import sequence_of
from fitcli.tasks.evaluation_result import Evaluation, Split
from fitcli.tasks.scoring_memory import UNLIMITED, ScoringLimit
from models.decoder import FITDecoder


@dataclass(frozen=True, slots=True)
class LikelihoodScorer:
    """Computes the likelihood of the images; see `Scorer` for its members.

    Attributes:
        checkpoint: The model.
        runtime: Device and precision.
        whole: Whether a whole image of any size is one sequence, instead of one per window of the trained size.
        limit: Memory limit of the passes.
    """

    checkpoint: Checkpoint[FITDecoder]
    runtime: Runtime
    whole: bool
    limit: ScoringLimit = UNLIMITED

    @property
    def depends_on(self) -> tuple[object, ...]:
        """Whether whole images are scored."""
        return (self.whole,)

    def score(self, image: ImageReader, sample: Sample, number: int) -> list[float]:
        """Return the bits of all values, and their number."""
        label = int(sample.target) if self.checkpoint.config.classes else None
        return [*image_bits(self.checkpoint, image, self.runtime, label, self.whole, self.limit)]

    def summarize(self, scored: Sequence[tuple[Sample, list[float]]], split: Split, failed: int) -> Evaluation:
        """Return the bits per dimension over all images."""
        each = [(sample, Bits(total, int(dimensions))) for sample, (total, dimensions) in scored]
        dimensions = sum(bits.dimensions for _, bits in each)
        return Evaluation(
            task=self.checkpoint.config.task,
            split=split,
            images=len(each),
            failed=failed,
            scores={
                "bits_per_dimension": sum(bits.total for _, bits in each) / dimensions,
                "dimensions": dimensions,
                "levels": sequence_of(self.checkpoint.config).levels,
            },
            columns=("path", "bits_per_dimension", "dimensions"),
            rows=[(sample.path, f"{bits.per_dimension:.6f}", bits.dimensions) for sample, bits in each],
        )
