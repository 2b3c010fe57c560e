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
from fitcli.files.output_checks import check_not_replaced, check_output_file, check_output_folder
from fitcli.files.output_names import output_names
from fitcli.files.publish import publish_csv
from fitcli.images.base import ImageReader
from fitcli.runs.config import RunConfig
from fitcli.runs.finite_output import NonFiniteOutput
from fitcli.runs.targets import Target, result_columns
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import Classification, classify_image
from fitcli.tasks.classify.heatmap import heatmap_bytes, write_heatmap
from fitcli.tasks.classify.labels import top_classes
from fitcli.tasks.classify.targets.kinds import kind_of
from fitcli.tasks.encoding.encode import EncodingSettings, warn_of_background
from fitcli.tasks.encoding.image_opener import ImageOpener
from fitcli.tasks.encoding.result_journal import open_result_journal
from models.encoder import FITClassifier

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".zarr")
"""Suffixes of heat maps. Any other name is that of a folder."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A classified file.

    Attributes:
        path: Path of the image, as given.
        width, height: Size of the image, in pixels.
        result: Prediction of the model.
        seconds: Time to open, read and classify the image, without the heat map.
        peak_bytes: Highest memory of the process, or of the CUDA device, so far.
        drawn: False if a requested heat map could not be written.
    """

    path: Path
    width: int
    height: int
    result: Classification
    seconds: float
    peak_bytes: int
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


def plan_heatmaps(paths: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Return the path of the heat map of each image.

    Args:
        paths: The images.
        out: A file for the heat map of one image; or a folder for `NAME.png`, see `output_names`, which is created with
            the first heat map; None for no heat maps.

    Raises:
        FitError: `out` is one file for several images, has an unknown suffix, or cannot be written to; or two images of
            one folder have the same name.
    """
    if out is None:
        return [None] * len(paths)
    if out.suffix and out.suffix.lower() not in PICTURES and not out.is_dir():
        raise FitError(f"--heatmap {out}: name it {', '.join(PICTURES)}, or give a folder, without a suffix")
    if out.suffix.lower() in PICTURES and not (out.is_dir() and out.suffix.lower() != ".zarr"):
        if len(paths) != 1:
            raise FitError(f"--heatmap {out} is one file for {len(paths)} images; give a folder")
        check_output_file("--heatmap", out)
        check_not_replaced("--heatmap", [out], paths)
        return [out]
    if out.exists() and not out.is_dir():
        raise FitError(f"--heatmap {out}: is not a folder; give a folder, or a file named {', '.join(PICTURES)}")
    planned = output_names("--heatmap", out, paths, ".png")
    check_output_folder("--heatmap", out)
    check_not_replaced("--heatmap", planned, paths)
    return [*planned]


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
    heatmaps: Sequence[Path | None],
    runtime: Runtime,
    settings: EncodingSettings,
    top_k: int,
    csv: Path | None,
    heatmap_target: int = 0,
) -> Iterator[ClassifyReport | None]:
    """Classify images and write their heat maps.

    Args:
        queue: The processes that share the images.
        checkpoint: The model and its preprocessing.
        paths: The images.
        heatmaps: Path of the heat map of each image; None for no heat map.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        top_k: Number of classes to report.
        csv: CSV file that the caller writes; finished results are kept beside it until then. None for no file.
        heatmap_target: Number of the target whose evidence the heat maps show.

    Yields:
        The report on each image, on the first process; None for an image that cannot be read, which is reported.
    """

    opener = ImageOpener(queue, checkpoint.config.preprocessing, settings.read_as)

    def classify(number: int) -> dict[str, Any] | None:
        try:
            done = _classify_file(
                opener, checkpoint, paths[number], heatmaps[number], runtime, settings, heatmap_target
            )
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
        heatmaps,
        output=csv,
        details={"top_k": top_k, "heatmap_task": heatmap_target},
    )
    for result in queue.results(len(paths), classify, journal):
        yield None if result is None else ClassifyReport(**result)
    if queue.world.is_first:
        opener.finish()


def _classify_file(
    opener: ImageOpener,
    checkpoint: Checkpoint[FITClassifier],
    path: Path,
    heatmap: Path | None,
    runtime: Runtime,
    settings: EncodingSettings,
    heatmap_target: int,
) -> Prediction:
    began = time.perf_counter()
    with opener.open(path) as image:
        with console.progress(path.name) as advance:
            drawing = 0 if heatmap is None else heatmap_bytes(heatmap, image.info, checkpoint.model.config.patch)
            result = classify_image(
                checkpoint, image, runtime, settings, heatmap is not None, advance, drawing, heatmap_target
            )
        if settings.memory_bytes is not None and result.plan is not None:
            console.log(f"{path.name}: {result.plan.summary()}")
        seconds = time.perf_counter() - began
        kept, groups = len(result.places), result.grid.count
        warn_of_background(path, kept, groups, settings.threshold(checkpoint.config))
        drawn = heatmap is None or _draw(heatmap, image, result)
        return Prediction(path, image.info.width, image.info.height, result, seconds, runtime.peak_bytes(), drawn)


def _draw(heatmap: Path, image: ImageReader, result: Classification) -> bool:
    """Write a heat map. Report an error and return False: the prediction is still useful."""
    try:
        heatmap.parent.mkdir(parents=True, exist_ok=True)
        write_heatmap(heatmap, image, result)
    except (ImageError, OSError) as error:
        console.error(f"--heatmap {heatmap}: {error}")
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
        raise FitError(f"--csv {path}: cannot be written ({error.strerror})") from None
