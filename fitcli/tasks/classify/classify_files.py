"""Classify files: one bad file is reported and the others go on."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import FitError, ImageError
from fitcli.files.output_checks import check_not_replaced, check_output_file, check_output_folder
from fitcli.files.publish import publish_csv
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import SEPARATOR, Target, probability_columns
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import Classification, classify_image
from fitcli.tasks.classify.heatmap import heatmap_bytes, write_heatmap
from fitcli.tasks.classify.labels import answer, predicted_labels, ranked
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.result_journal import open_result_journal
from models.encoder import FITClassifier

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".zarr")
"""Suffixes that a heat map can have; any other name is that of a folder."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A classified file.

    Attributes:
        path: As given.
        width, height: In pixels.
        result: What the model says.
        seconds: Opening, reading and computing, without the heat map.
        peak_bytes: Highest memory of the process, or of the CUDA device, so far.
        drawn: False where a heat map was asked for and could not be written.
    """

    path: Path
    width: int
    height: int
    result: Classification
    seconds: float
    peak_bytes: int
    drawn: bool = True

    def ranked(self, classes: Sequence[str], top_k: int) -> list[tuple[str, float]]:
        """The likeliest classes with their probabilities; of the first task, where there are several."""
        return ranked(classes, self.result.probabilities, top_k)

    def report(self, config: RunConfig, top_k: int) -> ClassifyReport:
        """What is said of it by a run."""
        classes, tasks = config.classes, config.targets
        return ClassifyReport(
            self.as_dict(classes, top_k, tasks), self.as_row(classes, top_k, tasks), self.as_line(config), self.drawn
        )

    def as_dict(self, classes: Sequence[str], top_k: int, tasks: Sequence[Target] = ()) -> dict[str, Any]:
        """For JSON; what is said in each of several tasks comes last."""
        answers = zip(tasks, self.result.target_probabilities if tasks else (), strict=True)
        asked = (
            {"tasks": {task.name: answer(task, target_probabilities, top_k) for task, target_probabilities in answers}}
            if tasks
            else {}
        )
        return {
            "path": str(self.path),
            "width": self.width,
            "height": self.height,
            "groups": self.result.grid.count,
            "skipped_groups": self.result.grid.count - len(self.result.places),
            "predictions": [{"label": label, "probability": p} for label, p in self.ranked(classes, top_k)],
            "seconds": round(self.seconds, 3),
            "peak_bytes": self.peak_bytes,
            "memory": None if self.result.plan is None else self.result.plan.as_dict(),
            **asked,
        }

    def as_row(self, classes: Sequence[str], top_k: int, tasks: Sequence[Target] = ()) -> list[str]:
        """For a table: the likeliest classes, or what is said in each task."""
        if tasks:
            answers = zip(tasks, self.result.target_probabilities, strict=True)
            likeliest = [
                SEPARATOR.join(predicted_labels(task, target_probabilities)) for task, target_probabilities in answers
            ]
        else:
            likeliest = [f"{label} {probability:.1%}" for label, probability in self.ranked(classes, top_k)]
        skipped = self.result.grid.count - len(self.result.places)
        groups = f"{self.result.grid.count}" + (f", {skipped} skipped" if skipped else "")
        return [str(self.path), f"{self.width} x {self.height}", groups, *likeliest, f"{self.seconds:.1f}"]

    def as_line(self, config: RunConfig) -> list[str]:
        """For a CSV file: path, what is said in each task, probability of each class."""
        labels = [
            SEPARATOR.join(predicted_labels(task, c))
            for task, c in zip(config.class_targets, self.result.target_probabilities, strict=True)
        ]
        return [
            str(self.path),
            *labels,
            *(f"{p:.6f}" for target_probabilities in self.result.target_probabilities for p in target_probabilities),
        ]


@dataclass(frozen=True, slots=True)
class ClassifyReport:
    """What is said of a classified file: JSON data, which can come from another process.

    Attributes:
        document: For `--json`.
        row: For a table.
        line: For a CSV file.
        drawn: False where a heat map was asked for and could not be written.
    """

    document: dict[str, Any]
    row: list[str]
    line: list[str]
    drawn: bool


def plan_heatmaps(paths: Sequence[Path], target: Path | None) -> list[Path | None]:
    """Where the heat map of each image goes.

    Args:
        paths: Of the images.
        target: A file, where there is one image; or a folder, which is made when the first is written; or None
            for no heat maps.

    Raises:
        FitError: One file for several images, a suffix that is not written, or no place to write.
    """
    if target is None:
        return [None] * len(paths)
    if target.suffix and target.suffix.lower() not in PICTURES and not target.is_dir():
        raise FitError(f"--heatmap {target}: name it {', '.join(PICTURES)}, or give a folder, without a suffix")
    if target.suffix.lower() in PICTURES and not (target.is_dir() and target.suffix.lower() != ".zarr"):
        if len(paths) != 1:
            raise FitError(f"--heatmap {target} is one file for {len(paths)} images; give a folder")
        check_output_file("--heatmap", target)
        check_not_replaced("--heatmap", [target], paths)
        return [target]
    if target.exists() and not target.is_dir():
        raise FitError(f"--heatmap {target}: is not a folder; give a folder, or a file named {', '.join(PICTURES)}")
    taken: set[str] = set()
    planned: list[Path] = []
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in count(2))
        name = next(name for name in chain([path.stem], numbered) if name.lower() not in taken)
        taken.add(name.lower())
        planned.append(target / f"{name}.png")
    check_output_folder("--heatmap", target)
    check_not_replaced("--heatmap", planned, paths)
    return [*planned]


def check_csv(path: Path | None, paths: Sequence[Path]) -> None:
    """Raise FitError where no CSV file can be written, or only over one of the files that are read."""
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
        checkpoint: The model and what it expects.
        paths, heatmaps: Of the images.
        runtime: Device and precision.
        settings: What to leave out, how much memory to use, where to keep the state.
        top_k: Classes to report.
        csv: Where the predictions will go, with what is done already beside it.
        heatmap_task: Number of the task that heat maps are of.

    Returns:
        What to say of each image, on the first process; None for one that cannot be read, after saying so.
    """

    def classify(number: int) -> dict[str, Any] | None:
        try:
            done = _classify_file(checkpoint, paths[number], heatmaps[number], runtime, settings, heatmap_target)
        except ImageError as error:
            console.error(str(error))
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


def _classify_file(
    checkpoint: Checkpoint[FITClassifier],
    path: Path,
    heatmap: Path | None,
    runtime: Runtime,
    settings: EncodingSettings,
    heatmap_target: int,
) -> Prediction:
    began = time.perf_counter()
    with open_image(path) as image:
        with console.progress(path.name) as advance:
            drawing = 0 if heatmap is None else heatmap_bytes(heatmap, image.info, checkpoint.model.config.patch)
            result = classify_image(
                checkpoint, image, runtime, settings, heatmap is not None, advance, drawing, heatmap_target
            )
        if settings.memory_bytes is not None and result.plan is not None:
            console.log(f"{path.name}: {result.plan.summary()}")
        seconds = time.perf_counter() - began
        drawn = heatmap is None or _draw(heatmap, image, result)
        return Prediction(path, image.info.width, image.info.height, result, seconds, runtime.peak_bytes(), drawn)


def _draw(heatmap: Path, image: ImageReader, result: Classification) -> bool:
    """Write a heat map. Where that fails, after saying so, the prediction is still worth having."""
    try:
        heatmap.parent.mkdir(parents=True, exist_ok=True)
        write_heatmap(heatmap, image, result)
    except (ImageError, OSError) as error:
        console.error(f"--heatmap {heatmap}: {error}")
        return False
    return True


def write_csv(path: Path, rows: Iterable[Sequence[str]], config: RunConfig) -> None:
    """Write one line per image, see `Prediction.as_line`.

    With several tasks the labels of each in columns as a data set has them, and probabilities as TASK:CLASS.

    Raises:
        FitError: It cannot be written.
    """
    try:
        with publish_csv(path) as file:
            tasks = config.targets
            named = probability_columns(tasks) or list(config.classes)
            columns = [task.column for task in tasks] or ["label"]
            csv.writer(file).writerows([["path", *columns, *named], *rows])
    except OSError as error:
        raise FitError(f"--csv {path}: cannot be written ({error.strerror})") from None
