"""Encodes an open image of any size within a memory budget, for every task whose models have an encoder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fitcli import __version__, console
from fitcli.device.runtime import Runtime
from fitcli.distributed.world import World
from fitcli.errors import ImageError
from fitcli.files.names import short_enough
from fitcli.images.base import ImageReader
from fitcli.images.open import stored_bytes
from fitcli.images.read_as import ReadAs
from fitcli.memory.budget import MemoryPlan, Work
from fitcli.memory.retry import RestartableProgress, one_line, with_less
from fitcli.memory.samples import SamplePass
from fitcli.memory.size_checks import check_groups
from fitcli.patches.background import almost_all_left_out, foreground
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.runs.config import RunConfig
from fitcli.runs.finite_output import check_finite_groups
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.streaming.journal import FolderJournal
from fitcli.streaming.sweeps import PassOutputs, Sink, Streaming
from fitcli.streaming.token_store import TokenStore, open_store
from fitcli.tasks.encoding.group_encoder import EncodingModel, GroupEncoder
from fitcli.tasks.encoding.memory_plan import encoding_work, plan_encoding
from fitcli.tasks.encoding.sample_pass import ENCODING
from fitcli.tasks.encoding.shared_pass import can_share, share_pass
from models.groups import Groups

Background = float | None | Literal["as trained"]
"""Share of the pixel range below which groups are left out; None to keep all groups; "as trained" for the threshold of
the training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingSettings:
    """How images are read, and the limits of a pass.

    Attributes:
        background: Groups that vary less than this share of the pixel range are left out, see `background.foreground`;
            None to keep all groups; by default the threshold of the training.
        memory_bytes: Memory limit; None for a share of the free memory.
        state: Folder for the state of a pass, so that another process can continue it; None to keep no state.
        read_as: Part of each image file that is read; None for that of training.
        plans: Plans so far, which later passes of the same work take; None to plan each pass by the memory that is free
            then.
        team: The processes that share each image, which wait in `help_with_passes`; None if this one works alone.
    """

    background: Background = "as trained"
    memory_bytes: int | None = None
    state: Path | None = None
    read_as: ReadAs | None = None
    plans: dict[Work, MemoryPlan] | None = None
    team: World | None = None

    def threshold(self, config: RunConfig) -> float | None:
        """Return the background threshold for a model: a share of the pixel range; None to keep all groups."""
        return config.preprocessing.background if self.background == "as trained" else self.background


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingPass:
    """One image to encode.

    Attributes:
        checkpoint: The model and its preprocessing.
        image: The open image.
        runtime: Device and precision.
        grid: Groups and patches over the image.
        places: (row, column) of the groups to encode, in order.
        groups: The same groups, as the model takes them.
        plan: Execution of the pass.
        state: Journal that lets another process continue the pass; None to keep no state.
        reads: Store for the attention weights [g m n] of the last `read`; None if they are not needed.
        team: The processes that share the pass; None if this one runs it alone.
    """

    checkpoint: Checkpoint[EncodingModel]
    image: ImageReader
    runtime: Runtime
    grid: PatchGrid
    places: list[tuple[int, int]]
    groups: Groups
    plan: MemoryPlan
    state: FolderJournal | None
    reads: TokenStore | None
    team: World | None = None

    @property
    def encoder(self) -> GroupEncoder:
        """The model and the image."""
        return GroupEncoder(checkpoint=self.checkpoint, image=self.image, runtime=self.runtime, grid=self.grid)

    def run(self, advance: Callable[[float], None], take_tokens: Sink | None = None) -> Tensor:
        """Encode the image.

        Args:
            advance: Called with the share of the work that was just done; the shares sum to 1.
            take_tokens: Takes the normalised tokens [part n c] after the last local layers.

        Returns:
            The normalised latents [g m d], on the device.

        Raises:
            ImageError: The image cannot be read.
            OutOfMemory: Memory ran out, also with half of the handful.
            FitError: There is not enough disk space for the tokens.
            NonFiniteOutput: The results are NaN or infinite.
        """
        progress = RestartableProgress(advance)

        def encode(handful: int) -> Tensor:
            progress.restart()
            return self._encode(handful, progress, take_tokens)

        return with_less(self.runtime.device, encode, self.plan.handful)

    def keep(self, name: str, shape: tuple[int, int, int], dtype: torch.dtype) -> TokenStore:
        """Open a store for values [g n v] of the groups in the folder of the state, for the process that resumes.

        Close it before the context of the pass ends, which removes it.
        """
        assert self.state is not None
        store = self.state.open_store(name, shape, dtype, torch.device("cpu"))
        self.state.sync_output = store.flush
        return store

    def _encode(self, handful: int, advance: Callable[[float], None], take_tokens: Sink | None) -> Tensor:
        count = len(self.places) if self.team is None else -(-len(self.places) // self.team.size)
        work = count * len(self.checkpoint.model.config.segments)
        how = Streaming(
            handful=handful,
            store=self.plan.store,
            advance=lambda count: advance(count / work),
            journal=self.state,
        )
        outputs = PassOutputs(tokens=take_tokens, reads=None if self.reads is None else self.reads.put)
        encoder = self.encoder
        if self.team is None:
            latents = encoder.encode(self.places, self.groups, how, outputs)
        else:
            latents = share_pass(self.team, encoder, self.places, how, outputs)
        self.runtime.check_overflow(latents)
        check_finite_groups(self.checkpoint, latents, "latents", self.image.path)
        return latents


@contextmanager
def encoding(
    checkpoint: Checkpoint[EncodingModel],
    image: ImageReader,
    runtime: Runtime,
    settings: EncodingSettings,
    *,
    purpose: str,
    passes: SamplePass = ENCODING,
    keep_reads: bool = False,
    finish_bytes: int = 0,
) -> Iterator[EncodingPass]:
    """Prepare a pass over an image. Its resources are released at the end, and its state is removed after success.

    Args:
        checkpoint: The model and its preprocessing.
        image: The open image; level 0 is read once, and once more to find background if the image has no smaller level.
        runtime: Device and precision.
        settings: Background threshold, memory limit and folder for the state.
        purpose: Use of the result; a state is continued only for the same purpose.
        passes: The pass over a sample image, which tells its memory.
        keep_reads: Whether to open a store for `reads`.
        finish_bytes: Memory for the work that follows the pass.

    Raises:
        ImageError: The image cannot be read, or is not of a kind that the model was trained on.
        OutOfMemory: The image needs more memory than the limit, or than there is. The context turns errors of the
            allocator into this one.
        FitError: The state belongs to another job.
    """
    grid = _patch_grid(checkpoint, image)
    check_groups(image, grid, "use a model with larger groups")
    threshold = settings.threshold(checkpoint.config)
    kept = None if threshold is None else foreground(image, grid, threshold, checkpoint.config.preprocessing)
    count = grid.count if kept is None else len(kept)
    work = encoding_work(
        checkpoint, image, passes, count, runtime.precision, keep_reads, finish_bytes, settings.state is not None
    )
    with one_line(image.path), ExitStack() as stack:
        state = None
        if settings.state is not None:
            job = _description(checkpoint, image, runtime, settings) | {"purpose": purpose, "heat map": keep_reads}
            state = FolderJournal(_state_folder(settings.state, image), job)
            stack.callback(state.close)
        plan = None if settings.plans is None else settings.plans.get(work)
        plan = plan or plan_encoding(work, runtime, settings.memory_bytes, state)
        if settings.plans is not None:
            settings.plans[work] = plan
        # Only now, because the plan refuses images with too many groups to list.
        places = list(grid.coordinates()) if kept is None else kept
        yield EncodingPass(
            checkpoint=checkpoint,
            image=image,
            runtime=runtime,
            grid=grid,
            places=places,
            groups=groups_of(grid, places),
            plan=plan,
            state=state,
            reads=_open_reads(checkpoint, len(places), plan, state, stack) if keep_reads else None,
            team=settings.team if can_share(settings.team, image) else None,
        )
        if state is not None and settings.state is not None:
            state.remove()
            _remove_empty(settings.state)


def warn_of_background(path: Path, kept: int, groups: int, threshold: float | None) -> None:
    """Warn if hardly any groups of an image are no background."""
    if threshold is not None and almost_all_left_out(kept, groups):
        console.warning(
            f"{path}: {groups - kept} of {groups} groups are left out as background; if they show something, give "
            f"--skip-background with a --background-threshold below {threshold:g}, or --no-skip-background"
        )


def _open_reads(
    checkpoint: Checkpoint[EncodingModel],
    groups: int,
    plan: MemoryPlan,
    state: FolderJournal | None,
    stack: ExitStack,
) -> TokenStore:
    """Open the store for attention weights: in the folder of the state, or where the plan says."""
    model = checkpoint.model.config
    open_one = partial(open_store, plan.reads_store) if state is None else partial(state.open_store, "reads")
    reads = stack.enter_context(open_one((groups, model.latents, model.tokens), torch.float32, torch.device("cpu")))
    if state is not None:
        state.sync_output = reads.flush
    return reads


def _patch_grid(checkpoint: Checkpoint[EncodingModel], image: ImageReader) -> PatchGrid:
    """Return the grid of a model over an image.

    Raises:
        ImageError: The image is not of a kind that the model was trained on.
    """
    if reason := checkpoint.config.preprocessing.mismatch(image.info):
        raise ImageError(image.path, reason)
    return PatchGrid(image.info.size, checkpoint.model.config.patch, checkpoint.model.config.group)


def _state_folder(state: Path, image: ImageReader) -> Path:
    """Return the folder of the state of one image: several images may have a state at the same time."""
    choice = f"#{image.choice}" if image.choice else ""
    digest = sha256(os.fsencode(os.path.realpath(image.path) + choice)).hexdigest()
    return state / short_enough(f"{image.path.stem}-{digest[:8]}")


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # It holds states of other images, or files of somebody else.
        return


def _description(
    checkpoint: Checkpoint[EncodingModel], image: ImageReader, runtime: Runtime, settings: EncodingSettings
) -> dict[str, Any]:
    """Return everything that the features depend on, as JSON data."""
    info = image.info
    return {
        "fit": __version__,
        "torch": torch.__version__,
        "image": os.path.realpath(image.path),
        "image bytes": stored_bytes(image.path),
        "image time": image.path.stat().st_mtime_ns,
        **({"image planes": str(image.choice)} if image.choice else {}),
        "image header": [info.format, info.height, info.width, info.channels, info.dtype.name, len(info.levels)],
        "device": runtime.device.type,
        "precision": runtime.arithmetic,
        # Later in the alphabet than the precision, on which it depends: a mismatch is reported for the first key.
        "weights": model_hash(checkpoint),
        "background threshold": settings.threshold(checkpoint.config),
    }
