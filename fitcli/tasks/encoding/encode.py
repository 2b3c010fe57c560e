"""An open image of any size through an encoder, within a budget of memory: what `classify` and `embed` share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fitcli import __version__
from fitcli.device.runtime import Runtime
from fitcli.device.transfer import to_device
from fitcli.errors import FitError, ImageError
from fitcli.files.names import short_enough
from fitcli.images.base import ImageReader
from fitcli.images.open import stored_bytes
from fitcli.images.reader_memory import reader_bytes
from fitcli.memory.budget import MemoryPlan, Work, plan_memory
from fitcli.memory.machine import default_budget, free_bytes, host_budget
from fitcli.memory.size_checks import check_groups
from fitcli.patches.background import foreground
from fitcli.patches.cutting import groups_of, normalize, read_patches
from fitcli.patches.grid import PatchGrid
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.streaming.journal import FolderJournal
from fitcli.streaming.sweeps import PassOutputs, Sink, Streaming
from fitcli.streaming.token_store import TokenStore, open_store
from fitcli.tasks.encoding.stream import stream_encoder
from models.encoder import FITClassifier
from models.groups import Groups

Background = float | None | Literal["as trained"]
"""Share of the range of the pixels below which groups are left out; None for none, or what was so in training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingSettings:
    """How images are read and within what bounds.

    Attributes:
        background: Leave out groups that vary less, see `background.foreground`; None to look at all; by default what
            was left out in training.
        memory_bytes: May be used; None for a share of what is free.
        state: Folder to keep the state of a pass in, so that it can go on after the process was killed.
    """

    background: Background = "as trained"
    memory_bytes: int | None = None
    state: Path | None = None

    def threshold(self, config: RunConfig) -> float | None:
        """`background` of a model: a share of the range of the pixels, or None."""
        return config.preprocessing.background if self.background == "as trained" else self.background


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingPass:
    """One image to be encoded: what is known before a pixel is decoded at full resolution.

    Attributes:
        grid: The arrangement over the image.
        places: (row, column) of the groups that are looked at, in order.
        groups: The same, for a model.
        plan: How it is run.
        state: Where it goes on after the end of the process, if that is wanted.
        reads: Place for what the latents read [g m n], if that is wanted.
    """

    checkpoint: Checkpoint[FITClassifier]
    image: ImageReader
    runtime: Runtime
    grid: PatchGrid
    places: list[tuple[int, int]]
    groups: Groups
    plan: MemoryPlan
    state: FolderJournal | None
    reads: TokenStore | None

    def run(self, advance: Callable[[float], None], take_tokens: Sink | None = None) -> Tensor:
        """Encode the image.

        Args:
            advance: Told the share of the work that was just done; the shares sum to 1.
            take_tokens: Given the normalised tokens [part n c] after the last local layers.

        Returns:
            The latents [g m d], normalised, on the device.

        Raises:
            ImageError: The image cannot be read.
            FitError: There is no room for tokens at rest.
        """
        model, preprocessing = self.checkpoint.model, self.checkpoint.config.preprocessing
        work = len(self.places) * len(model.config.segments)
        how = Streaming(
            handful=self.plan.handful,
            store=self.plan.store,
            advance=lambda count: advance(count / work),
            journal=self.state,
        )
        wanted = PassOutputs(tokens=take_tokens, reads=None if self.reads is None else self.reads.put)
        mean, std = (
            to_device(torch.tensor(values), self.runtime.device) for values in (preprocessing.mean, preprocessing.std)
        )
        with self.runtime.autocast():
            return stream_encoder(
                model.encoder,
                self.groups,
                self._read,
                how,
                wanted,
                lambda patches: normalize(patches, mean, std),
            )

    def _read(self, part: slice) -> Tensor:
        """Patches [part n p] in the dtype that the model was trained on: bytes until they are on the device."""
        preprocessing, info = self.checkpoint.config.preprocessing, self.image.info
        return read_patches(self.image, self.grid, self.places[part], lambda p: preprocessing.convert(p, info))


@contextmanager
def encoding(
    checkpoint: Checkpoint[FITClassifier],
    image: ImageReader,
    runtime: Runtime,
    settings: EncodingSettings,
    *,
    purpose: str,
    keep_reads: bool = False,
    finish_bytes: int = 0,
) -> Iterator[EncodingPass]:
    """Prepare a job; what it needs is released at the end, and its state removed if all went well.

    Args:
        checkpoint: The model and what it expects.
        image: Open; level 0 is read once.
        runtime: Device and precision.
        settings: Bounds.
        purpose: What the result is for: states of different purposes are not mixed up.
        keep_reads: A place for `reads`.
        finish_bytes: Memory for what is done with the result.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        FitError: The memory is too little, or the state that of another job.
    """
    grid, keep_state = _patch_grid(checkpoint, image), settings.state is not None
    check_groups(image, grid, "use a model with larger groups")
    threshold = settings.threshold(checkpoint.config)
    kept = None if threshold is None else foreground(image, grid, threshold)
    count = grid.count if kept is None else len(kept)
    work = _work(checkpoint, image, count, keep_reads, finish_bytes, keep_state)
    with ExitStack() as stack:
        state = None
        if settings.state is not None:
            job = _description(checkpoint, image, runtime, settings) | {"purpose": purpose, "heat map": keep_reads}
            state = FolderJournal(_state_folder(settings.state, image), job)
            stack.callback(state.close)
        plan = _plan(image.path, work, runtime, settings, state)
        # Not before it is known that there is room for so many.
        places = list(grid.coordinates()) if kept is None else kept
        groups, reads = groups_of(grid, places), None
        if keep_reads:
            model = checkpoint.model.config
            shape, host = (len(places), model.latents, model.tokens), torch.device("cpu")
            place = partial(open_store, plan.reads_store) if state is None else partial(state.open_store, "reads")
            reads = stack.enter_context(place(shape, torch.float32, host))
            if state is not None:
                state.sync_output = reads.flush
        yield EncodingPass(
            checkpoint=checkpoint,
            image=image,
            runtime=runtime,
            grid=grid,
            places=places,
            groups=groups,
            plan=plan,
            state=state,
            reads=reads,
        )
        if state is not None and settings.state is not None:
            state.remove()
            _remove_empty(settings.state)


def _patch_grid(checkpoint: Checkpoint[FITClassifier], image: ImageReader) -> PatchGrid:
    """The arrangement of a model's groups over an image.

    Raises:
        ImageError: The image is not of a kind that the model was trained on.
    """
    if reason := checkpoint.config.preprocessing.mismatch(image.info):
        raise ImageError(image.path, reason)
    return PatchGrid(image.info.size, checkpoint.model.config.patch, checkpoint.model.config.group)


def _work(
    checkpoint: Checkpoint[FITClassifier],
    image: ImageReader,
    groups: int,
    keep_reads: bool,
    finish_bytes: int,
    keep_state: bool,
) -> Work:
    config = checkpoint.model.config
    return Work(
        config=config,
        groups=groups,
        weights_bytes=sum(p.numel() * p.element_size() for p in checkpoint.model.parameters()),
        value_bytes=np.dtype(checkpoint.config.preprocessing.dtype).itemsize,
        values=config.values,
        reader_bytes=reader_bytes(image, config.patch * config.group),
        finish_bytes=finish_bytes,
        keep_reads=keep_reads,
        keep_state=keep_state,
    )


def _plan(
    path: Path, work: Work, runtime: Runtime, settings: EncodingSettings, state: FolderJournal | None
) -> MemoryPlan:
    """The plan of a job that is continued, or a new one."""
    if state is not None and state.plan is not None:
        return MemoryPlan(**state.plan)
    try:
        if settings.memory_bytes is not None:
            plan = plan_memory(work, runtime.device.type, settings.memory_bytes, host_budget(runtime))
        else:
            plan = _default_plan(work, runtime)
    except FitError as error:
        # Other images may be smaller.
        raise ImageError(path, str(error)) from None
    if state is not None:
        state.save_plan(dataclasses.asdict(plan))
    return plan


def _default_plan(work: Work, runtime: Runtime) -> MemoryPlan:
    """Within a polite share of what is free; nobody having asked for that, within all of it if need be."""
    try:
        return plan_memory(work, runtime.device.type, default_budget(runtime), host_budget(runtime))
    except FitError:
        return plan_memory(work, runtime.device.type, free_bytes(runtime), host_budget(runtime))


def _state_folder(state: Path, image: ImageReader) -> Path:
    """One folder per image: several may be under way, or wait for their turn."""
    digest = sha256(os.fsencode(os.path.realpath(image.path))).hexdigest()
    return state / short_enough(f"{image.path.stem}-{digest[:8]}")


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # It holds the states of other images, or something that is not ours.
        return


def _description(
    checkpoint: Checkpoint[FITClassifier], image: ImageReader, runtime: Runtime, settings: EncodingSettings
) -> dict[str, Any]:
    """Everything that features depend on."""
    info = image.info
    return {
        "fit": __version__,
        "torch": torch.__version__,
        "image": os.path.realpath(image.path),
        "image bytes": stored_bytes(image.path),
        "image time": image.path.stat().st_mtime_ns,
        "image header": [info.format, info.height, info.width, info.channels, info.dtype.name, len(info.levels)],
        "device": runtime.device.type,
        "precision": runtime.arithmetic,
        # Compared in order of the names: after the precision, in which weights are multiplied and so held.
        "weights": model_hash(checkpoint),
        "background threshold": settings.threshold(checkpoint.config),
    }
