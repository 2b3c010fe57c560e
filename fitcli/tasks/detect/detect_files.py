"""Finds the objects of files, writes and counts them. A bad file is reported, and the others are looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitcli import console
from fitcli.annotations.class_colors import with_colors
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.annotations.objects.object_writers import COCO, CSV, WRITTEN_SUFFIXES, write_objects
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import FitError
from fitcli.files.output_names import plan_outputs
from fitcli.files.publish import published_together
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.detect.config import DetectDetails
from fitcli.tasks.detect.detect_image import detect_image
from fitcli.tasks.detect.detections import Detections
from fitcli.tasks.detect.overlay import PICTURE_SUFFIXES, picture_bytes, write_overlay
from fitcli.tasks.encoding.encode import EncodingSettings, warn_of_background
from fitcli.tasks.encoding.image_results import image_results
from fitcli.tasks.encoding.result_journal import open_result_journal
from models.dense import FITDense


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectOutputs:
    """Files that are written for one image; None for those that are not.

    Attributes:
        objects: File of the objects.
        overlay: Picture of the image with the objects.
        threshold: Least score of an object that is written; None for that of the run.
        in_pixels: Whether GeoJSON and GeoPackage are in pixels even if the image lies on the Earth.
    """

    objects: Path | None = None
    overlay: Path | None = None
    threshold: float | None = None
    in_pixels: bool = False

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [path for path in (self.objects, self.overlay) if path is not None]


def plan_object_files(
    paths: Sequence[Path],
    out: Path | None,
    overlay: Path | None = None,
    threshold: float | None = None,
    in_pixels: bool = False,
) -> list[DetectOutputs]:
    """Return the files of each image.

    Args:
        paths: The images.
        out: File of the objects of one image, or a folder; None to only count objects.
        overlay: The same for pictures; None for none.
        threshold, in_pixels: See `DetectOutputs`.

    Raises:
        FitError: A file is named for several images or twice, has an unknown suffix, or cannot be written.
    """
    none: list[Path | None] = [None] * len(paths)
    objects = none if out is None else plan_outputs("--out", paths, out, WRITTEN_SUFFIXES, ".geojson")
    pictures = none if overlay is None else plan_outputs("--overlay", paths, overlay, PICTURE_SUFFIXES, ".png")
    planned = [
        DetectOutputs(objects=own, overlay=picture, threshold=threshold, in_pixels=in_pixels)
        for own, picture in zip(objects, pictures, strict=True)
    ]
    for outputs in planned:
        if len(set(outputs.files)) < len(outputs.files):
            raise FitError(f"{outputs.objects}: is named for two outputs; give each its own file or folder")
    return planned


def detect_files(
    queue: ImageQueue,
    checkpoint: Checkpoint[FITDense],
    paths: Sequence[Path],
    planned: Sequence[DetectOutputs],
    runtime: Runtime,
    settings: EncodingSettings,
    out: Path | None,
) -> Iterator[dict[str, Any] | None]:
    """Find the objects of images and write them.

    Args:
        queue: The processes that share the images.
        checkpoint: The model and its preprocessing.
        paths: The images.
        planned: Files of each image, see `plan_object_files`.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        out: File or folder of the objects; finished results are kept beside it.

    Yields:
        A JSON document of each image, on the first process; None for an image that cannot be read, which is reported.
    """
    details = checkpoint.config.details
    assert isinstance(details, DetectDetails)
    own = details.threshold
    chosen = [own if outputs.threshold is None else outputs.threshold for outputs in planned]

    def detect(number: int, image: ImageReader) -> dict[str, Any]:
        return _detect_file(checkpoint, image, planned[number], chosen[number], runtime, settings)

    journal = open_result_journal(
        queue,
        "detect",
        checkpoint,
        runtime,
        settings,
        paths,
        [outputs.objects for outputs in planned],
        output=out,
        per_image=[
            [str(path) for path in outputs.files] + [threshold, outputs.in_pixels, details.one_per_place]
            for outputs, threshold in zip(planned, chosen, strict=True)
        ],
    )
    yield from image_results(queue, checkpoint.config.preprocessing, settings, paths, detect, journal)


def _detect_file(
    checkpoint: Checkpoint[FITDense],
    image: ImageReader,
    outputs: DetectOutputs,
    threshold: float,
    runtime: Runtime,
    settings: EncodingSettings,
) -> dict[str, Any]:
    began, info, classes = time.perf_counter(), image.info, checkpoint.config.classes
    table = with_colors(ClassTable(classes, tuple(range(len(classes)))))
    with console.progress(image.path.name) as advance:
        found, done = detect_image(
            checkpoint,
            image,
            runtime,
            settings,
            advance,
            0 if outputs.overlay is None else picture_bytes(info),
            purpose="detect",
        )
    reported = _reported(checkpoint, found.take(found.scores >= threshold))
    with published_together(outputs.files):
        if outputs.objects is not None:
            with open_image(image.path) as stored:
                factor = stored.info.width / info.width, stored.info.height / info.height
                written = reported.scaled(*factor)
                write_objects(outputs.objects, written, table, stored.info, image.path, outputs.in_pixels)
        if outputs.overlay is not None:
            write_overlay(outputs.overlay, image, reported, table)
    kept, groups = len(done.places), done.grid.count
    warn_of_background(image.path, kept, groups, settings.threshold(checkpoint.config))
    if settings.memory_bytes is not None:
        console.log(f"{image.path.name}: {done.plan.summary()}")
    return {
        "path": str(image.path),
        "width": info.width,
        "height": info.height,
        "objects": None if outputs.objects is None else str(outputs.objects),
        "overlay": None if outputs.overlay is None else str(outputs.overlay),
        "threshold": threshold,
        "found": len(reported),
        "counts": named_counts(reported, classes, info.width * info.height, info.mpp),
        "groups": groups,
        "skipped_groups": groups - kept,
        "seconds": round(time.perf_counter() - began, 3),
        "peak_bytes": runtime.peak_bytes(),
        "memory": done.plan.as_dict(),
    }


def _reported(checkpoint: Checkpoint[FITDense], found: Detections) -> FoundObjects:
    details = checkpoint.config.details
    assert isinstance(details, DetectDetails)
    return FoundObjects(found.boxes.astype(np.float64), found.scores, found.numbers, details.are_points)


def named_counts(
    found: FoundObjects, names: Sequence[str], pixels: int, mpp: float | None
) -> dict[str, dict[str, float]]:
    """Return the number of objects of each class, per megapixel and, with a scale, per square millimetre."""
    counts = np.bincount(found.numbers, minlength=len(names)).tolist()
    return {
        name: {"count": count, "per_megapixel": count / (pixels / 1e6)}
        | ({} if mpp is None else {"per_square_millimetre": count / (pixels * mpp**2 / 1e6)})
        for name, count in zip(names, counts, strict=True)
    }


def check_pixels(in_pixels: bool, out: Path | None) -> None:
    """Raise FitError if pixels are asked for, but no file is written that could have world coordinates."""
    is_other = out is None or out.name.lower().endswith((*CSV, *COCO))
    if in_pixels and is_other:
        raise FitError("--pixels is for GeoJSON and GeoPackage: give --out such a name, or leave it out")
