"""Scores a run on the images of a data set, one by one. A bad image is reported, and the others are scored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli import console
from fitcli.data.csv_listing import IN_FILES
from fitcli.data.dataset import Dataset, Sample, load_dataset
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import DataError, FitError, ImageError, OutOfMemory
from fitcli.memory.retry import one_line
from fitcli.runs.finite_output import NonFiniteOutput, check_finite_numbers
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.image_opener import ImageOpener
from fitcli.tasks.encoding.result_journal import open_result_journal
from fitcli.tasks.evaluation_result import Evaluation, Split
from fitcli.tasks.load import load_config, load_run
from fitcli.tasks.registry import find_task
from fitcli.tasks.task import Scorer
from fitcli.training.checkpointing.run_record import load_fingerprint, load_settings


def evaluate(
    queue: ImageQueue,
    data: Path,
    folder: Path,
    split: Split,
    runtime: Runtime,
    settings: EncodingSettings,
    output: Path | None = None,
) -> Evaluation | None:
    """Score a run on the images of a data set.

    Args:
        queue: The processes that share the images.
        data: The data set; without a split of its own, the same images are held out as in training.
        folder: Run folder.
        split: Split to score.
        runtime: Device and precision.
        settings: Settings with which encoders read images.
        output: File that will hold the scores; None for none. It must not be an image of the data set.

    Returns:
        The scores, on the first process; None on the others.

    Raises:
        DataError: The data set is unusable, has no images in this split, or has classes that the run does not have.
        FitError: The run cannot be loaded, `output` is an image of the data set, or no image can be read.
    """
    config = load_config(folder)
    task = find_task(config.task)
    labels = task.labels if task.labels in IN_FILES else "needed" if config.classes else "ignored"
    dataset = load_dataset(data, labels, training=False, several=task.several_targets)
    samples = task.match(data, dataset, _samples(data, dataset, split), config)
    target = None if output is None else os.path.realpath(output)
    if clash := next((sample.path for sample in samples if os.path.realpath(sample.path) == target), None):
        raise FitError(f"{clash}: is an image of the data set and would be replaced; give another output file")
    whole = _compare_with_training(folder, dataset, split)
    checkpoint: Checkpoint[Any] = load_run(folder, runtime)
    scorer = task.scorer(checkpoint, runtime, settings, whole)
    job = _Job(queue, samples, checkpoint, runtime, settings, output)
    scored = job.run(scorer)
    return None if scored is None else scorer.summarize(scored, split, len(samples) - len(scored))


@dataclass(frozen=True, slots=True)
class _Job:
    """The images to score and the settings for it; see `evaluate`."""

    queue: ImageQueue
    samples: Sequence[Sample]
    checkpoint: Checkpoint[Any]
    runtime: Runtime
    settings: EncodingSettings
    output: Path | None

    def run(self, scorer: Scorer) -> list[tuple[Sample, list[float]]] | None:
        """Score the images, and report those that cannot be read or scored.

        Returns:
            The images that were scored with their scores, on the first process; None on the others.

        Raises:
            FitError: No image can be scored.
        """
        samples, count = self.samples, len(self.samples)
        opener = ImageOpener(self.queue, self.checkpoint.config.preprocessing, self.settings.read_as)

        def score(number: int) -> list[float] | None:
            try:
                with one_line(samples[number].path), opener.open(samples[number].path) as image:
                    scores = scorer.score(image, samples[number], number)
                    check_finite_numbers(self.checkpoint, scores, "scores", image.path)
                    return scores
            except (ImageError, NonFiniteOutput, OutOfMemory) as error:
                opener.report(error)
                return None

        journal = open_result_journal(
            self.queue,
            "evaluate",
            self.checkpoint,
            self.runtime,
            self.settings,
            [sample.path for sample in samples],
            [None] * count,
            output=self.output,
            details={"more": scorer.depends_on},
            per_image=[(number, sample.target) for number, sample in enumerate(samples)],
        )
        results = []
        with console.progress("evaluate") as advance:
            for result in self.queue.results(count, score, journal):
                results.append(result)
                advance(1 / count)
        if not self.queue.world.is_first:
            return None
        opener.finish()
        if not any(results):
            raise FitError(f"none of {count} images could be scored")
        return [(sample, result) for sample, result in zip(samples, results, strict=True) if result is not None]


def _compare_with_training(folder: Path, dataset: Dataset, split: Split) -> bool:
    """Return whether the run was trained on whole images. Warn if it may have been trained on what is scored."""
    try:
        settings, fingerprint = load_settings(folder), load_fingerprint(folder)
    except FitError:
        return False
    if split == "val" and fingerprint != dataset.fingerprint:
        console.warning(
            f"{folder}: was trained on another data set or another split of it; it may have seen images that are scored"
        )
    return settings.size is None


def _samples(data: Path, dataset: Dataset, split: Split) -> list[Sample]:
    """Return the images of a split.

    Raises:
        DataError: There are none.
    """
    splits = {"train": dataset.train, "val": dataset.validation, "test": dataset.test}
    chosen = [sample for name, samples in splits.items() if split in (name, "all") for sample in samples]
    if not chosen:
        counts = ", ".join(f"{len(samples)} {name}" for name, samples in splits.items())
        raise DataError(f"{data}: no images in --split {split} (it has {counts}); choose another")
    return chosen
