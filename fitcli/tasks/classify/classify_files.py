"""Classifies files and writes heat maps and a CSV file. A bad file is reported, and the others are classified."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import FitError, ImageError, OutOfMemory
from fitcli.files.output_checks import check_not_replaced, check_output_file
from fitcli.files.publish import publish_csv
from fitcli.files.write_errors import reason_and_advice
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.runs.config import RunConfig
from fitcli.runs.finite_output import NonFiniteOutput
from fitcli.runs.targets import Target, result_columns
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import Classification, classify_image
from fitcli.tasks.classify.heatmap import heatmap_bytes, kept_bytes, write_heatmap
from fitcli.tasks.classify.heatmap_files import OF_EVIDENCE, HeatmapChoice, HeatmapFile
from fitcli.tasks.classify.labels import top_classes
from fitcli.tasks.classify.targets.kinds import kind_of
from fitcli.tasks.encoding.encode import EncodingSettings, warn_of_background
from fitcli.tasks.encoding.image_opener import ImageOpener
from fitcli.tasks.encoding.result_journal import open_result_journal
from models.encoder import FITClassifier


@dataclass(frozen=True, slots=True)
class Prediction:
    """A classified file.

    Attributes:
        path: Path of the image, as given.
        width, height: Size of the image, in pixels.
        result: Prediction of the model.
        seconds: Time to open, read and classify the image, without the heat map.
        peak_bytes: Highest memory of the process, or of the CUDA device, so far.
        heatmaps: The heat maps that were written, as JSON data.
        drawn: False if a requested heat map could not be written.
    """

    path: Path
    width: int
    height: int
    result: Classification
    seconds: float
    peak_bytes: int
    heatmaps: tuple[dict[str, Any], ...] = ()
    drawn: bool = True

    def report(self, config: RunConfig, top_k: int) -> ClassifyReport:
        """Return the prediction in all forms of output, with the class names of a run."""
        return ClassifyReport(
            self._document(config, top_k), self._row(config, top_k), self._line(config.class_targets), self.drawn
        )

    def _document(self, config: RunConfig, top_k: int) -> dict[str, Any]:
        document = {
            "path": str(self.path),
            "width": self.width,
            "height": self.height,
            "groups": self.result.grid.count,
            "skipped_groups": self.result.grid.count - len(self.result.places),
            "predictions": self._answers(config, top_k)[0].get("predictions", []),
            "seconds": round(self.seconds, 3),
            "peak_bytes": self.peak_bytes,
            "memory": None if self.result.plan is None else self.result.plan.as_dict(),
        }
        if self.heatmaps:
            document["heatmaps"] = list(self.heatmaps)
        if config.targets:
            names = [target.name for target in config.targets]
            document["tasks"] = dict(zip(names, self._answers(config, top_k), strict=True))
        return document

    def _row(self, config: RunConfig, top_k: int) -> list[str]:
        if config.targets:
            predictions = self._labels(config.targets)
        else:
            top = top_classes(config.classes, self.result.probabilities, top_k)
            predictions = [f"{label} {probability:.1%}" for label, probability in top]
        skipped = self.result.grid.count - len(self.result.places)
        groups = f"{self.result.grid.count}" + (f", {skipped} skipped" if skipped else "")
        return [str(self.path), f"{self.width} x {self.height}", groups, *predictions, f"{self.seconds:.1f}"]

    def _line(self, targets: Sequence[Target]) -> list[str]:
        each = zip(targets, self.result.target_probabilities, strict=True)
        probabilities = [f"{p:.6f}" for target, own in each if kind_of(target).names(target) for p in own]
        return [str(self.path), *self._labels(targets), *probabilities]

    def _answers(self, config: RunConfig, top_k: int) -> list[dict[str, Any]]:
        """The prediction for each target as JSON data."""
        each = zip(config.class_targets, self.result.target_probabilities, strict=True)
        return [kind_of(target).document(target, own, top_k) for target, own in each]

    def _labels(self, targets: Sequence[Target]) -> list[str]:
        """The prediction for each target as one text, such as the predicted label."""
        each = zip(targets, self.result.target_probabilities, strict=True)
        return [kind_of(target).text(target, own) for target, own in each]


@dataclass(frozen=True, slots=True)
class ClassifyReport:
    """The output for a classified file, as JSON data that processes can exchange.

    Attributes:
        document: JSON document for `--json`. With several targets, its last entry holds the predictions of each.
        row: Row of a table: path, size, groups, the most probable classes or the labels of each target, seconds.
        line: Line of a CSV file: path, prediction for each target as text, probabilities of each.
        drawn: False if a requested heat map could not be written.
    """

    document: dict[str, Any]
    row: list[str]
    line: list[str]
    drawn: bool


def check_csv(path: Path | None, paths: Sequence[Path]) -> None:
    """Raise FitError if the CSV file cannot be written or would replace one of the files that are read."""
    if path is None:
        return
    if path.is_dir():
        raise FitError(f"--csv {path}: is a folder; give the name of a file")
    check_output_file("--csv", path)
    check_not_replaced("--csv", [path], paths)


def classify_files(
    queue: ImageQueue,
    checkpoint: Checkpoint[FITClassifier],
    paths: Sequence[Path],
    heatmaps: Sequence[Sequence[HeatmapFile]],
    runtime: Runtime,
    settings: EncodingSettings,
    top_k: int,
    csv: Path | None,
    shown: HeatmapChoice = OF_EVIDENCE,
) -> Iterator[ClassifyReport | None]:
    """Classify images and write their heat maps.

    Args:
        queue: The processes that share the images.
        checkpoint: The model and its preprocessing.
        paths: The images.
        heatmaps: The heat maps of each image.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        top_k: Number of classes to report.
        csv: CSV file that the caller writes; finished results are kept beside it until then. None for no file.
        shown: Content of the heat maps.

    Yields:
        The report on each image, on the first process; None for an image that cannot be read, which is reported.
    """

    opener = ImageOpener(queue, checkpoint.config.preprocessing, settings.read_as)

    def classify(number: int) -> dict[str, Any] | None:
        try:
            done = _classify_file(opener, checkpoint, paths[number], heatmaps[number], runtime, settings, shown)
        except (ImageError, NonFiniteOutput, OutOfMemory) as error:
            opener.report(error)
            return None
        return asdict(done.report(checkpoint.config, top_k))

    journal = open_result_journal(
        queue,
        "classify",
        checkpoint,
        runtime,
        settings,
        paths,
        # The last one is there if all are.
        [files[-1].path if files else None for files in heatmaps],
        output=csv,
        details={"top_k": top_k, "heatmap_task": shown.target, "heatmap_classes": shown.classes},
    )
    for result in queue.results(len(paths), classify, journal):
        yield None if result is None else ClassifyReport(**result)
    if queue.world.is_first:
        opener.finish()


def _classify_file(
    opener: ImageOpener,
    checkpoint: Checkpoint[FITClassifier],
    path: Path,
    heatmaps: Sequence[HeatmapFile],
    runtime: Runtime,
    settings: EncodingSettings,
    shown: HeatmapChoice,
) -> Prediction:
    began = time.perf_counter()
    with opener.open(path) as image:
        with console.progress(path.name) as advance:
            result = classify_image(
                checkpoint,
                image,
                runtime,
                settings,
                keep_evidence=bool(heatmaps) and not shown.classes,
                advance=advance,
                finish_bytes=drawing_bytes(heatmaps, image.info, checkpoint.model.config.patch, shown),
                evidence_target=shown.target,
                keep_contributions=shown.classes if heatmaps else (),
            )
        if settings.memory_bytes is not None and result.plan is not None:
            console.log(f"{path.name}: {result.plan.summary()}")
        seconds = time.perf_counter() - began
        kept, groups = len(result.places), result.grid.count
        warn_of_background(path, kept, groups, settings.threshold(checkpoint.config))
        drawn = [each.document(shown.target_name) for each in heatmaps if _draw(each, image, result, shown)]
        return Prediction(
            path,
            image.info.width,
            image.info.height,
            result,
            seconds,
            runtime.peak_bytes(),
            tuple(drawn),
            len(drawn) == len(heatmaps),
        )


def drawing_bytes(heatmaps: Sequence[HeatmapFile], info: ImageInfo, patch: int, shown: HeatmapChoice) -> int:
    """Return roughly how much memory the heat maps of an image take, with the values for all of them, in bytes."""
    largest = max((heatmap_bytes(each.path, info, patch, len(each.classes)) for each in heatmaps), default=0)
    return largest + (kept_bytes(info, patch, len(shown.classes)) if heatmaps else 0)


def _draw(heatmap: HeatmapFile, image: ImageReader, result: Classification, shown: HeatmapChoice) -> bool:
    """Write a heat map. Report an error and return False: the prediction is still useful."""
    try:
        heatmap.path.parent.mkdir(parents=True, exist_ok=True)
        write_heatmap(heatmap.path, image, result, heatmap.classes, shown.target_name)
    except (ImageError, OSError) as error:
        console.error(f"--heatmap {heatmap.path}: {error}")
        return False
    return True


def write_csv(path: Path, rows: Iterable[Sequence[str]], config: RunConfig) -> None:
    """Write one line per image.

    With several targets, the label columns are named as in a data set, and the probabilities TARGET:CLASS.

    Args:
        path: The CSV file.
        rows: `ClassifyReport.line` of each image.
        config: The run.

    Raises:
        FitError: The file cannot be written.
    """
    labels = [target.column for target in config.targets] or ["label"]
    names = [kind_of(target).names(target) for target in config.class_targets]
    columns = result_columns(["path", *labels], config.class_targets, not config.targets, names)
    try:
        with publish_csv(path) as table:
            table.write_rows([columns, *rows])
    except OSError as error:
        raise FitError(f"--csv {path}: cannot be written: {'; '.join(reason_and_advice(error))}") from None
