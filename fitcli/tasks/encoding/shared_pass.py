"""Shares the pass over one image between all processes of a job: each reads and encodes a run of its groups.

The first process works as if it were alone: it opens and plans, takes what a pass gives, and writes. When a pass
begins, it tells the others, which wait in `help_with_passes`. In the global layers all latents are exchanged, as in
training with `--group-parallel`. Afterwards the first process receives what the others have computed, in the order of
the groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.distributed.agreement import require_agreement
from fitcli.distributed.collection import Collection
from fitcli.distributed.latent_exchange import Exchange
from fitcli.distributed.world import PeerLost, UnrecoverableRankError, World
from fitcli.errors import FitError, ImageError, OutOfMemory, is_out_of_memory, out_of_memory_text
from fitcli.images.base import ImageReader
from fitcli.images.read_as import ReadAs, open_as
from fitcli.memory.retry import one_line
from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.streaming.sweeps import PassOutputs, Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.encoding.group_encoder import EncodingModel, GroupEncoder
from models.groups import span


class SharedPass(NamedTuple):
    """A pass that the first process begins, as plain data.

    Attributes:
        image: Path of the image with its choice, and the way it is read, see `ImageReader.opened_as`.
        places: (row, column) of all groups to encode.
        handful: Number of groups that are computed together.
        store: Kind of store for tokens.
        tokens, reads: Whether these outputs of `PassOutputs` are needed.
    """

    image: tuple[str, ReadAs]
    places: list[tuple[int, int]]
    handful: int
    store: StoreKind
    tokens: bool
    reads: bool


def can_share(team: World | None, image: ImageReader) -> bool:
    """Return whether several processes share the passes over an image. One that is no file is encoded by one alone."""
    return team is not None and team.size > 1 and image.opened_as is not None


def share_pass(
    team: World, encoder: GroupEncoder, places: list[tuple[int, int]], how: Streaming, outputs: PassOutputs
) -> Tensor:
    """Encode an image with the help of the other processes; see `GroupEncoder.encode`. Call it on the first process.

    Returns:
        The normalised latents [g m d] of all groups, on the device.

    Raises:
        ImageError: A process cannot read the image.
        OutOfMemory: Memory ran out on a process, while the others could be told.
        UnrecoverableRankError: Memory ran out on this process during an exchange.
        FitError: There is not enough disk space for the tokens.
    """
    assert encoder.image.opened_as is not None
    begun = SharedPass(
        encoder.image.opened_as, places, how.handful, how.store, outputs.tokens is not None, outputs.reads is not None
    )
    team.broadcast(begun)
    try:
        return _run(team, begun, how, outputs, lambda stack: encoder)
    except (PeerLost, UnrecoverableRankError):
        raise
    except FitError as error:
        # The others wait for the next pass, so this process has to tell them if it ends the job.
        error.shared = False
        raise


@torch.inference_mode()
def help_with_passes(team: World, checkpoint: Checkpoint[Any], runtime: Runtime) -> None:
    """Compute shares of the passes that the first process begins, until it ends the job.

    Call it on all processes with the same run: it compares their weights, and returns at once on the first one.

    Raises:
        FitError: The processes have different weights, or the first one has failed.
    """
    facts = {"the weights of the run": model_hash(checkpoint), "--precision": runtime.arithmetic}
    require_agreement(team, facts, "give all processes the same run and options")
    if team.is_first:
        return
    while (begun := team.broadcast(None)) is not None:
        how = Streaming(handful=begun.handful, store=begun.store)
        none = PassOutputs(tokens=_drop if begun.tokens else None, reads=_drop if begun.reads else None)
        try:
            _run(team, begun, how, none, partial(_opened, begun, checkpoint, runtime))
        except (PeerLost, UnrecoverableRankError):
            raise
        except FitError:
            # The first process has the same error: it reports the image, tries again with less, or ends the job.
            continue


def _drop(part: slice, values: Tensor) -> None:
    raise AssertionError("only the first process takes what a pass gives")


def _opened(
    begun: SharedPass, checkpoint: Checkpoint[EncodingModel], runtime: Runtime, stack: ExitStack
) -> GroupEncoder:
    path, how = begun.image
    image = stack.enter_context(open_as(path, how))
    model = checkpoint.model.config
    grid = PatchGrid(image.info.size, model.patch, model.group)
    return GroupEncoder(checkpoint=checkpoint, image=image, runtime=runtime, grid=grid)


def _run(
    team: World, begun: SharedPass, how: Streaming, outputs: PassOutputs, opened: Callable[[ExitStack], GroupEncoder]
) -> Tensor:
    """Compute the share of this process, and hand it to the first one. Collective."""
    together = partial(_together, team, begun.image[0])
    with ExitStack() as stack, _memory_lost():
        encoder: GroupEncoder = together(partial(opened, stack))
        places, device = begun.places, encoder.runtime.device
        own = places[span(len(places), team.rank, team.size)]
        share = groups_of(encoder.grid, places).share_of(team.rank, team.size, Exchange().gather)
        collections = {
            name: stack.enter_context(closing(Collection(team, len(places), how, device, sink)))
            for name, sink in (("tokens", outputs.tokens), ("reads", outputs.reads))
            if sink is not None
        }
        sinks: dict[str, Any] = {name: each.put for name, each in collections.items()}
        latents = encoder.encode(own, share, replace(how, together=together), PassOutputs(**sinks))
        for collection in collections.values():
            collection.finish()
        on_device = share.to(device)
        whole = on_device.gather(on_device.arrange(latents))[0]  # [(ranks longest) m d]
        present = on_device.present()
        return whole if present is None else whole[present[0]]


def _together(team: World, path: str, act: Callable[[], Any]) -> Any:
    """Call a function on all processes; an error of one is raised on all, so that none waits for another.

    Raises:
        ImageError: A process cannot read the image.
        OutOfMemory: Memory ran out on a process.
        FitError: Something else failed on a process.
    """
    results: list[Any] = []

    def attempt() -> list[str] | None:
        try:
            with one_line():
                results.append(act())
        except ImageError as error:
            return [str(error.path), error.reason]
        return None

    for failed in team.gather_results(attempt):
        if failed is not None:
            raise ImageError(*failed)
    return results[0]


@contextmanager
def _memory_lost() -> Iterator[None]:
    """End the job if memory runs out where the other processes cannot be told: they wait in an exchange."""
    try:
        yield
    except OutOfMemory:
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UnrecoverableRankError(out_of_memory_text(error)) from error
