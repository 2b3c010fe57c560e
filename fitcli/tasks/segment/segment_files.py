"""Segments files: writes their maps and reports their areas. A bad file is reported, and the others are segmented."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import FitError
from fitcli.files.output_names import plan_outputs
from fitcli.images.base import ImageReader
from fitcli.images.rescaled import stored_grid
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.encode import EncodingSettings, warn_of_background
from fitcli.tasks.encoding.image_results import image_results
from fitcli.tasks.encoding.result_journal import open_result_journal
from fitcli.tasks.segment.class_map import (
    MAP_SUFFIXES,
    POLYGON_SUFFIXES,
    SegmentOutputs,
    map_bytes,
    named_areas,
    write_maps,
)
from fitcli.tasks.segment.config import SegmentDetails
from fitcli.tasks.segment.missing_cells import without_missing_cells
from fitcli.tasks.segment.segment_image import most_probable, probability_bytes, segment_image
from fitcli.tasks.segment.strips import NOT_SEEN, Strips
from models.dense import FITDense


def plan_files(
    paths: Sequence[Path],
    out: Path,
    probabilities: Path | None,
    polygons: Path | None,
    min_area: float = 0.0,
    in_pixels: bool = False,
) -> list[SegmentOutputs]:
    """Return the files of each image.

    Args:
        paths: The images.
        out: File of the map of one image, or a folder.
        probabilities: The same for probabilities; None for none.
        polygons: The same for polygons; None for none.
        min_area, in_pixels: See `SegmentOutputs`.

    Raises:
        FitError: A file is named for several images or twice, has an unknown suffix, or cannot be written.
    """
    maps: list[Path] = plan_outputs("--out", paths, out, MAP_SUFFIXES, ".tif")
    none: list[Path | None] = [None] * len(paths)
    shares = (
        none if probabilities is None else plan_outputs("--probabilities", paths, probabilities, MAP_SUFFIXES, ".tif")
    )
    drawn = none if polygons is None else plan_outputs("--polygons", paths, polygons, POLYGON_SUFFIXES, ".geojson")
    planned = [
        SegmentOutputs(map=each, probabilities=share, polygons=parts, min_area=min_area, in_pixels=in_pixels)
        for each, share, parts in zip(maps, shares, drawn, strict=True)
    ]
    for outputs in planned:
        if len(set(outputs.files)) < len(outputs.files):
            raise FitError(f"{outputs.map}: is named for two outputs; give each its own file or folder")
    return planned


def segment_files(
    queue: ImageQueue,
    checkpoint: Checkpoint[FITDense],
    paths: Sequence[Path],
    planned: Sequence[SegmentOutputs],
    runtime: Runtime,
    settings: EncodingSettings,
    out: Path,
) -> Iterator[dict[str, Any] | None]:
    """Segment images and write their maps.

    Args:
        queue: The processes that share the images.
        checkpoint: The model and its preprocessing.
        paths: The images.
        planned: Files of each image, see `plan_files`.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        out: File or folder of the maps; finished results are kept beside it.

    Yields:
        A JSON document of each image, on the first process; None for an image that cannot be read, which is reported.
    """

    def segment(number: int, image: ImageReader) -> dict[str, Any]:
        return _segment_file(checkpoint, image, planned[number], runtime, settings)

    journal = open_result_journal(
        queue,
        "segment",
        checkpoint,
        runtime,
        settings,
        paths,
        [outputs.map for outputs in planned],
        output=out,
        per_image=[
            [str(path) for path in outputs.files] + [outputs.min_area, outputs.in_pixels] for outputs in planned
        ],
    )
    yield from image_results(queue, checkpoint.config.preprocessing, settings, paths, segment, journal)


def _segment_file(
    checkpoint: Checkpoint[FITDense],
    image: ImageReader,
    outputs: SegmentOutputs,
    runtime: Runtime,
    settings: EncodingSettings,
) -> dict[str, Any]:
    began, model, info = time.perf_counter(), checkpoint.model.config, image.info
    details = checkpoint.config.details
    assert isinstance(details, SegmentDetails)
    table, grid = details.table(checkpoint.config.classes), PatchGrid(info.size, model.patch, model.group)
    with (
        console.progress(image.path.name) as advance,
        write_maps(outputs, info, stored_grid(image).info, table, grid, model.cell) as writer,
    ):
        strips = Strips(grid, model.cells, without_missing_cells(image, grid, model.cell, writer.take))
        values = most_probable_only if outputs.probabilities is None else with_probabilities
        done = segment_image(
            checkpoint,
            image,
            runtime,
            settings,
            strips.put,
            values,
            advance,
            map_bytes(outputs, info, grid, model.outputs),
            purpose=f"segment --out {outputs.map.absolute()}",
        )
        strips.finish()
    kept, groups = len(done.places), grid.count
    warn_of_background(image.path, kept, groups, settings.threshold(checkpoint.config))
    if settings.memory_bytes is not None:
        console.log(f"{image.path.name}: {done.plan.summary()}")
    return {
        "path": str(image.path),
        "width": info.width,
        "height": info.height,
        "map": str(outputs.map),
        "probabilities": None if outputs.probabilities is None else str(outputs.probabilities),
        "polygons": None if outputs.polygons is None else str(outputs.polygons),
        "groups": groups,
        "skipped_groups": groups - kept,
        "areas": named_areas(writer.areas, table, info.mpp, writer.known_square_metres),
        "pixels_not_looked_at": int(writer.areas[NOT_SEEN]),
        "seconds": round(time.perf_counter() - began, 3),
        "peak_bytes": runtime.peak_bytes(),
        "memory": done.plan.as_dict(),
    }


def most_probable_only(logits: Tensor) -> Tensor:
    """Return the number of the most probable class of each cell, [... 1] uint8."""
    return most_probable(logits)[..., None]


def with_probabilities(logits: Tensor) -> Tensor:
    """Return the number of the most probable class of each cell, and the probabilities as bytes, [... 1+k] uint8."""
    return torch.cat([most_probable_only(logits), probability_bytes(logits)], dim=-1)
