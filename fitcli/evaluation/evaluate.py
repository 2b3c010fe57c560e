"""Scores a run on the images of a data set, one by one. A bad image is reported, and the others are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from fitcli import console
from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.distributed.heartbeat import working_alone
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import FitError, ImageError, OutOfMemory, is_out_of_memory, out_of_memory_text
from fitcli.evaluation.quality.measure import QualityJob, QualitySettings, prepare_quality
from fitcli.evaluation.report import write_report
from fitcli.evaluation.scored_images import chosen_images, refuse_replacing, was_trained_whole, was_turned
from fitcli.evaluation.trained_on import compare_with_training, trained_images, with_facts
from fitcli.files.wording import counted
from fitcli.memory.retry import one_line
from fitcli.runs.finite_output import NonFiniteOutput, check_finite_numbers
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.group_encoder import EncodingModel
from fitcli.tasks.encoding.image_opener import ImageOpener
from fitcli.tasks.encoding.result_journal import open_result_journal
from fitcli.tasks.encoding.shared_pass import help_with_passes
from fitcli.tasks.evaluation_result import Evaluation, Split
from fitcli.tasks.load import load_config, load_run
from fitcli.tasks.registry import find_task
from fitcli.tasks.task import Scorer, UnitScorer


def evaluate(
    queue: ImageQueue,
    data: Path,
    folder: Path,
    split: Split,
    runtime: Runtime,
    settings: EncodingSettings,
    output: Path | None = None,
    images: Path | None = None,
    per: str | None = None,
    choices: Mapping[str, Any] = MappingProxyType({}),
    quality: QualitySettings | None = None,
    report: Path | None = None,
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
        images: Folder that the paths of a CSV file are relative to; None for that of the file.
        per: Column of patients to score by patient, too; None for images alone.
        choices: Choices of the answers, see `TaskDetails.chosen`.
        quality: Images to generate and to compare with those that are scored; None for none.
        report: HTML file that will show the scores; None for none.

    Returns:
        The scores, on the first process; None on the others.

    Raises:
        DataError: The data set is unusable, has no images in this split, or has classes that the run does not have.
        FitError: The run cannot be loaded, `output` is an image of the data set, or no image can be read.
    """
    config = load_config(folder)
    config.details.chosen(choices)
    task = find_task(config.task)
    dataset, samples = chosen_images(data, folder, config, task, split, images, per)
    refuse_replacing(samples, output, report)
    trained_on = compare_with_training(folder, dataset, samples, split)
    checkpoint: Checkpoint[Any] = load_run(folder, runtime).chosen(choices)
    if queue.shares_images:
        if not isinstance(checkpoint.model, EncodingModel):
            raise FitError(f"--group-parallel: a run of --task {config.task} has no passes to share; leave it out")
        help_with_passes(queue.world, checkpoint, runtime)
        settings = replace(settings, team=queue.world)
    quality_job = None
    if quality is not None and queue.world.is_first:
        opener = ImageOpener(queue, config.preprocessing, settings.read_as, answers=False)
        quality_job = prepare_quality(quality, checkpoint, runtime, settings.memory_bytes, opener, samples)
    scorer = task.scorer(checkpoint, runtime, settings, was_trained_whole(folder))
    job = _Job(queue, samples, checkpoint, runtime, settings, output)
    if quality is not None and queue.world.is_first:
        console.hint(f"scores {counted(len(samples), 'image')} first, then generates {quality.samples}")
    scored = job.run(scorer)
    if scored is None:
        return None
    result = scorer.summarize(scored, split, len(samples) - len(scored))
    if quality_job is not None:
        with working_alone():
            result = _with_quality(
                result,
                quality_job,
                [sample for sample, _ in scored],
                trained_images(folder, dataset),
                was_turned(folder),
            )
    units = None if per is None else cast(UnitScorer, scorer).per_unit(scored)
    found = with_facts(replace(result, units=units), scored, samples, trained_on)
    if report is not None:
        about = (f"Run {folder}", f"Data set {data}, {counted(len(samples), 'image')} of --split {split}")
        found = _with_report(report, found, task.report(checkpoint, runtime, settings), scored, job.opener(), about)
    return found


def _with_report(path: Path, found: Evaluation, *parts: Any) -> Evaluation:
    """Write the report, and return the scores. If it cannot be written, they are still there."""
    try:
        write_report(path, found, *parts)
    except (FitError, OSError) as error:
        console.error(str(error))
        return replace(found, complete=False)
    return found


@dataclass(frozen=True, slots=True)
class _Job:
    """The images to score and the settings for it; see `evaluate`."""

    queue: ImageQueue
    samples: Sequence[Sample]
    checkpoint: Checkpoint[Any]
    runtime: Runtime
    settings: EncodingSettings
    output: Path | None

    def opener(self) -> ImageOpener:
        """Return what opens the images."""
        return ImageOpener(self.queue, self.checkpoint.config.preprocessing, self.settings.read_as)

    def run(self, scorer: Scorer) -> list[tuple[Sample, list[float]]] | None:
        """Score the images, and report those that cannot be read or scored.

        Returns:
            The images that were scored with their scores, on the first process; None on the others.

        Raises:
            FitError: No image can be scored.
        """
        samples, count = self.samples, len(self.samples)
        opener = self.opener()

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
            raise FitError(f"none of {counted(count, 'image')} could be scored")
        return [(sample, result) for sample, result in zip(samples, results, strict=True) if result is not None]


def _with_quality(
    result: Evaluation, job: QualityJob, held_out: Sequence[Sample], trained: Sequence[Sample], turned: bool
) -> Evaluation:
    """Return scores with the figures of generated images. An error is reported and kept beside the scores."""
    try:
        figures = job.run(held_out, trained, turned)
    except (FitError, OSError, MemoryError, RuntimeError) as error:
        lacks_memory = is_out_of_memory(error)
        if not lacks_memory and not isinstance(error, FitError | OSError):
            raise
        reason = out_of_memory_text(error) if lacks_memory else str(error)
        console.error(reason)
        return replace(result, scores={**result.scores, "quality": {"error": reason}}, complete=False)
    return replace(
        result,
        scores={**result.scores, "quality": figures.as_dict()},
        table_scores={**result.table_scores, **figures.numbers()},
        tables=(*result.tables, *figures.tables()),
    )
