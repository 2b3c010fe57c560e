"""Writes the features of whole images to files: the latents of every group and, on request, the tokens of patches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitcli import console
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.files.leftovers import remove_old_partials
from fitcli.files.output_names import plan_outputs
from fitcli.files.publish import followed
from fitcli.images.base import ImageReader
from fitcli.memory.budget import MemoryPlan
from fitcli.runs.finite_output import check_finite_groups
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.tasks.encoding.encode import EncodingPass, EncodingSettings, encoding, warn_of_background
from fitcli.tasks.encoding.features_file import (
    SUFFIXES,
    ArraySpec,
    EmbeddingsWriter,
    can_continue,
    create_embeddings,
)
from fitcli.tasks.encoding.image_results import image_results
from fitcli.tasks.encoding.result_journal import open_result_journal
from models.encoder import FITClassifier

PIECE_GROUPS = 256
"""Number of groups whose latents are written at a time."""


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image whose features have been written.

    Attributes:
        path: Path of the image, as given.
        out: Path of its features.
        groups: Number of groups that were encoded.
        latents: Number of latents per group.
        width: Width of a latent.
        plan: Execution of the pass.
    """

    path: Path
    out: Path
    groups: int
    latents: int
    width: int
    plan: MemoryPlan

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {
            "path": str(self.path),
            "out": str(self.out),
            "groups": self.groups,
            "latents": self.latents,
            "width": self.width,
            "memory": self.plan.as_dict(),
        }


def embed_files(
    queue: ImageQueue,
    checkpoint: Checkpoint[FITClassifier],
    paths: Sequence[Path],
    out: Path,
    runtime: Runtime,
    settings: EncodingSettings,
    keep_patches: bool = False,
) -> Iterator[dict[str, Any] | None]:
    """Write the features of images to files.

    Args:
        queue: The processes that share the images.
        checkpoint: The model and its preprocessing.
        paths: The images.
        out: A file, or a folder for one file per image, see `plan_outputs`.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        keep_patches: Whether to write the features of patches, too.

    Yields:
        `EmbeddedImage.as_dict` of each image, on the first process; None for an image that cannot be read, which is
        reported.
    """
    outputs = plan_outputs("--out", paths, out, SUFFIXES, ".zarr")
    journal = open_result_journal(
        queue, "embed", checkpoint, runtime, settings, paths, outputs, output=out, details={"patches": keep_patches}
    )

    def embed(number: int, image: ImageReader) -> dict[str, Any]:
        if journal is not None and settings.state is None:
            remove_old_partials(followed(outputs[number]))
        with console.progress(paths[number].name) as advance:
            done = embed_image(checkpoint, image, outputs[number], runtime, settings, keep_patches, advance)
        if settings.memory_bytes is not None:
            console.log(f"{paths[number].name}: {done.plan.summary()}")
        return done.as_dict()

    yield from image_results(queue, checkpoint.config.preprocessing, settings, paths, embed, journal)


@torch.inference_mode()
def embed_image(
    checkpoint: Checkpoint[FITClassifier],
    image: ImageReader,
    out: Path,
    runtime: Runtime,
    settings: EncodingSettings,
    keep_patches: bool = False,
    advance: Callable[[float], None] = lambda share: None,
) -> EmbeddedImage:
    """Write the features of an open image to a file, see `create_embeddings`.

    The file holds these arrays, of the groups that were encoded:

    - `latents` [g m d]: normalised latents;
    - `coordinates` [g 2]: row and column of the group;
    - `windows` [g 4]: top, left, height and width of the pixels of the group, clipped to the image;
    - `patches` [g n c], with `keep_patches`: normalised tokens after the last local layers. Patches beyond the edge of
      the image are meaningless. Through the latents, patches have seen the rest of the image in all segments but the
      last.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image; level 0 is read once, and once more to find background if the image has no smaller level.
        out: A `.zarr` or `.safetensors` file; an existing one is replaced.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        keep_patches: Whether to write `patches`.
        advance: Called with the share of the work that was just done; the shares sum to 1.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is.
        FitError: The file cannot be written, or the state belongs to another job.
        NonFiniteOutput: The features are NaN or infinite; nothing is written.
    """
    purpose = f"embed{' --patches' if keep_patches else ''} --out {os.path.realpath(out)}"
    with encoding(checkpoint, image, runtime, settings, purpose=purpose) as job:
        digest = model_hash(checkpoint)
        # With the token, a continued job finds the patches that it has written already.
        token = digest[:8] if job.state is not None and keep_patches else None
        continues = token is not None and _continues(job, can_continue(out, token))
        with create_embeddings(out, _specs(job, keep_patches), _attributes(job, digest), token, continues) as file:
            if job.state is not None:
                job.state.sync_output = file.sync

            def take(part: slice, tokens: Tensor) -> None:
                runtime.check_overflow(tokens)
                check_finite_groups(checkpoint, tokens, "features of patches", image.path)
                file.write("patches", part, tokens.float().cpu().numpy())

            latents = job.run(advance, take if keep_patches else None)
            _write_groups(file, job, latents)
        warn_of_background(image.path, len(job.places), job.grid.count, settings.threshold(checkpoint.config))
        model = checkpoint.model.config
        return EmbeddedImage(image.path, out, len(job.places), model.latents, model.latent_width, job.plan)


def _continues(job: EncodingPass, has_output: bool) -> bool:
    """Return whether a job continues its unfinished output. A job whose output is gone restarts from the beginning."""
    if job.state is None or not job.state.has_position:
        return False
    if not has_output:
        job.state.restart()
        return False
    return True


def _specs(job: EncodingPass, keep_patches: bool) -> dict[str, ArraySpec]:
    count, model = len(job.places), job.checkpoint.model.config
    specs = {
        "latents": ArraySpec((count, model.latents, model.latent_width), "float32"),
        "coordinates": ArraySpec((count, 2), "int64"),
        "windows": ArraySpec((count, 4), "int64"),
    }
    if keep_patches:
        specs["patches"] = ArraySpec((count, model.tokens, model.token_width), "float32")
    return specs


def _attributes(job: EncodingPass, digest: str) -> dict[str, Any]:
    info, model = job.image.info, job.checkpoint.model.config
    return {
        "image": job.image.path.name + (f"#{job.image.choice}" if job.image.choice else ""),
        "height": info.height,
        "width": info.width,
        "patch": model.patch,
        "group": model.group,
        "mpp": info.mpp,
        "model": digest,
        "precision": job.runtime.precision,
    }


def _write_groups(file: EmbeddingsWriter, job: EncodingPass, latents: Tensor) -> None:
    """Write the arrays that need no second pass over the image: latents, coordinates and windows."""
    for start in range(0, len(job.places), PIECE_GROUPS):
        part = slice(start, min(start + PIECE_GROUPS, len(job.places)))
        places = job.places[part]
        windows = [job.grid.window(*place).clip(*job.grid.size) for place in places]
        file.write("latents", part, latents[part].float().cpu().numpy())
        file.write("coordinates", part, np.array(places))
        file.write("windows", part, np.array([(w.top, w.left, w.height, w.width) for w in windows]))
