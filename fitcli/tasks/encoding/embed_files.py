"""Features of whole images: the latents of every group and, if wanted, tokens of every patch, straight to a file."""

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
from fitcli.errors import FitError, ImageError
from fitcli.files.leftovers import remove_old_partials
from fitcli.files.output_checks import check_not_replaced, check_output_file, check_output_folder
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.memory.budget import MemoryPlan
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.tasks.encoding.encode import EncodingPass, EncodingSettings, encoding
from fitcli.tasks.encoding.features_file import (
    SUFFIXES,
    ArraySpec,
    EmbeddingsWriter,
    can_continue,
    create_embeddings,
)
from fitcli.tasks.encoding.result_journal import open_result_journal
from models.encoder import FITClassifier

PIECE_GROUPS = 256
"""Groups whose latents are written at a time."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """An image whose features have been written.

    Attributes:
        path: Of the image, as given.
        out: Of its features.
        groups: That were looked at.
        latents: Per group.
        width: Of a latent.
        plan: How it was computed within its memory.
    """

    path: Path
    out: Path
    groups: int
    latents: int
    width: int
    plan: MemoryPlan

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": str(self.path),
            "out": str(self.out),
            "groups": self.groups,
            "latents": self.latents,
            "width": self.width,
            "memory": self.plan.as_dict(),
        }


def plan_outputs(paths: Sequence[Path], out: Path) -> list[Path]:
    """Where the features of each image go: to a file, or into a folder, which is made if need be, as `NAME.zarr`.

    Where several images have the same name, those of all are in folders like the images: `FOLDER/NAME.zarr`.

    Raises:
        FitError: One file for several images, two images of one name in one folder, or no place to write.
    """
    if out.suffix.lower() in SUFFIXES:
        if len(paths) != 1:
            raise FitError(f"--out {out} is one file for {len(paths)} images; give a folder")
        check_output_file("--out", out)
        planned = [out]
    else:
        if out.suffix and not out.is_dir():
            raise FitError(f"--out {out}: name it {' or '.join(SUFFIXES)}, or give a folder, without a suffix")
        planned = [out / f"{name}.zarr" for name in _names(out, paths)]
        try:
            for folder in {out, *(target.parent for target in planned)}:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FitError(f"--out {out}: not a folder that can be made ({error.strerror})") from None
        check_output_folder("--out", planned[0].parent)
    check_not_replaced("--out", planned, paths)
    return planned


def _names(out: Path, paths: Sequence[Path]) -> list[Path]:
    """Of what is written of each image, within the folder of all and without the suffix."""
    plain = [Path(path.stem) for path in paths]
    if _twice(plain) is None:
        return plain
    places = [Path(os.path.abspath(path)) for path in paths]
    common = os.path.commonpath([place.parent for place in places])
    nested = [place.relative_to(common).with_name(place.stem) for place in places]
    if (same := _twice(nested)) is not None:
        raise FitError(
            f"--out {out}: {paths[same[0]]} and {paths[same[1]]} have the same name; embed one of them alone"
        )
    return nested


def _twice(names: Sequence[Path]) -> tuple[int, int] | None:
    """Numbers of two that are the same, also where the case of letters does not count."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        if (before := seen.setdefault(str(name).lower(), number)) != number:
            return before, number
    return None


def embed_files(
    queue: ImageQueue,
    checkpoint: Checkpoint[FITClassifier],
    paths: Sequence[Path],
    out: Path,
    runtime: Runtime,
    settings: EncodingSettings,
    keep_patches: bool = False,
) -> Iterator[dict[str, Any] | None]:
    """Embed images.

    Args:
        queue: The processes that share the images.
        checkpoint: The model and what it expects.
        paths: Of the images.
        out: A file, or a folder for one file per image, see `plan_outputs`.
        runtime: Device and precision.
        settings: What to leave out, how much memory to use, where to keep the state.
        keep_patches: Write features of patches, too.

    Returns:
        `Embedded.as_dict` of each image, on the first process; None for one that cannot be read, after saying so.
    """
    outputs = plan_outputs(paths, out)
    journal = open_result_journal(
        queue, "embed", checkpoint, runtime, settings, paths, outputs, output=out, details={"patches": keep_patches}
    )

    def embed(number: int) -> dict[str, Any] | None:
        if journal is not None and settings.state is None:
            remove_old_partials(outputs[number])
        try:
            with open_image(paths[number]) as image, console.progress(paths[number].name) as advance:
                done = embed_image(checkpoint, image, outputs[number], runtime, settings, keep_patches, advance)
        except ImageError as error:
            console.error(str(error))
            return None
        if settings.memory_bytes is not None:
            console.log(f"{paths[number].name}: {done.plan.summary()}")
        return done.as_dict()

    yield from queue.results(len(paths), embed, journal)


@torch.inference_mode()
def embed_image(
    checkpoint: Checkpoint[FITClassifier],
    image: ImageReader,
    out: Path,
    runtime: Runtime,
    settings: EncodingSettings,
    keep_patches: bool = False,
    advance: Callable[[float], None] = lambda share: None,
) -> Embedded:
    """Write the features of an open image to a file, see `create_embeddings`.

    `latents` [g m d]: of every group that was looked at, normalised. `coordinates` [g 2]: row and column of the group.
    `windows` [g 4]: top, left, height and width of its pixels, clipped to the image. `patches` [g n c], if wanted: of
    every patch after the last local layers, normalised; those beyond the edge of the image mean nothing. Patches have
    seen the rest of the image through the latents of all segments but the last.

    Args:
        checkpoint: The model and what it expects.
        image: Open; level 0 is read once.
        out: `.zarr` or `.safetensors`; replaced.
        runtime: Device and precision.
        settings: What to leave out, how much memory to use, where to keep the state.
        keep_patches: Write `patches`.
        advance: Told the share of the work that was just done; the shares sum to 1.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        FitError: It cannot be written, the memory is too little, or the state that of another job.
    """
    purpose = f"embed{' --patches' if keep_patches else ''} --out {os.path.realpath(out)}"
    with encoding(checkpoint, image, runtime, settings, purpose=purpose) as job:
        digest = model_hash(checkpoint)
        # By the token, a job that is continued finds the patches that it has written.
        token = digest[:8] if job.state is not None and keep_patches else None
        continues = token is not None and _continues(job, can_continue(out, token))
        with create_embeddings(out, _specs(job, keep_patches), _attributes(job, digest), token, continues) as file:
            if job.state is not None:
                job.state.sync_output = file.sync

            def take(part: slice, tokens: Tensor) -> None:
                file.write("patches", part, tokens.float().cpu().numpy())

            latents = job.run(advance, take if keep_patches else None)
            _write_groups(file, job, latents)
        model = checkpoint.model.config
        return Embedded(image.path, out, len(job.places), model.latents, model.latent_width, job.plan)


def _continues(job: EncodingPass, has_output: bool) -> bool:
    """Return whether a job continues its unfinished output; a job that has lost it starts at the beginning."""
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
        "image": job.image.path.name,
        "height": info.height,
        "width": info.width,
        "patch": model.patch,
        "group": model.group,
        "mpp": info.mpp,
        "model": digest,
        "precision": job.runtime.precision,
    }


def _write_groups(file: EmbeddingsWriter, job: EncodingPass, latents: Tensor) -> None:
    """What there is one of per group."""
    for start in range(0, len(job.places), PIECE_GROUPS):
        part = slice(start, min(start + PIECE_GROUPS, len(job.places)))
        places = job.places[part]
        windows = [job.grid.window(*place).clip(*job.grid.size) for place in places]
        file.write("latents", part, latents[part].float().cpu().numpy())
        file.write("coordinates", part, np.array(places))
        file.write("windows", part, np.array([(w.top, w.left, w.height, w.width) for w in windows]))
