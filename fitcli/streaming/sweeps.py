"""Drives a trunk a few groups at a time, with the submodules of `Trunk.forward`: one sweep over the groups per segment.

The device holds the weights, the latents of the whole image and a handful of groups. The tokens of all groups rest in a
store between sweeps; a plan of one segment needs no store. A callable reads each handful, ahead of time and in another
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from fitcli.device.transfer import DeviceCopies, pin, to_device
from fitcli.streaming.device_inputs import groups_on_device
from fitcli.streaming.prefetch import AHEAD, prefetch
from fitcli.streaming.token_store import StoreKind, TokenStore, open_store
from models.groups import Groups
from models.piecewise_latents import PIECE, apply_piecewise
from models.real_tokens import RealTokens
from models.trunk import Segment, Trunk

Load = Callable[[slice], Tensor]
"""Returns the inputs [part n ...] of a slice of the groups, such as patches or ids, on the host or on the device. It
runs in another thread, in order, once per slice. An exception that it raises ends the pass."""

Sink = Callable[[slice, Tensor], None]
"""Takes values [part ...] of a slice of the groups, in order, on the device."""


class Position(NamedTuple):
    """The progress of a pass.

    Attributes:
        segment: Number of the segment that is being swept.
        groups: Number of groups finished in this sweep.
        latents: Latents [g m d] at the start of the sweep.
        new_latents: Latents [g m d] after `read`; valid for the finished groups.
    """

    segment: int
    groups: int
    latents: Tensor
    new_latents: Tensor


class Journal(Protocol):
    """Records the progress of a pass, so that another process can resume it."""

    def resume(self) -> Position | None:
        """Return the position to resume from; None to start at the beginning."""

    def record(self, position: Position, stores: Sequence[TokenStore]) -> None:
        """Record a position. A pass calls this after every handful."""

    def open_store(
        self, name: str, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
    ) -> TokenStore:
        """Open a store that keeps its tokens for the process that resumes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Streaming:
    """Settings of a pass. None of them changes the results, except for rounding.

    Attributes:
        handful: Number of groups that are computed together.
        store: Kind of store for the tokens between sweeps.
        advance: Called after each handful with its group count, in each segment.
        journal: Records the progress; None if the pass need not be resumable.
        ahead: Number of handfuls that another thread reads while one is computed; with 0, no thread is started.
        piece: Number of latents that `mix` processes at once.
        together: Runs the part of a pass between two exchanges of latents. With other processes, its failure on one of
            them ends the pass on all, because the others would wait for ever.
    """

    handful: int
    store: StoreKind = "host"
    advance: Callable[[int], None] = lambda count: None
    journal: Journal | None = None
    ahead: int = AHEAD
    piece: int = PIECE
    together: Callable[[Callable[[], Any]], Any] = lambda act: act()

    def open_store(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> TokenStore:
        """Open a store for the tokens [g n c] between sweeps, which `device` computes."""
        return open_store(self.store, shape, dtype, device)

    def slices(self, count: int, first: int = 0) -> list[slice]:
        """Cut the groups from number `first` to `count` into handfuls."""
        return [slice(start, min(start + self.handful, count)) for start in range(first, count, self.handful)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSource:
    """The source of the tokens of a pass.

    Attributes:
        load: Reads the inputs of a slice of the groups.
        embed: Embeds these inputs, on the device, as tokens, packed from [part n c]; also takes the slice and its real
            tokens.
        shape: (n, c) of the tokens.
    """

    load: Load
    embed: Callable[[Tensor, slice, RealTokens], Tensor]
    shape: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PassOutputs:
    """The outputs that a pass computes.

    Attributes:
        latents: Whether the caller needs the latents after the last segment.
        tokens: Takes values [part n ...] of the tokens after the last local layers, zeros for padding; None if they are
            not needed.
        head: Maps the tokens to these values, both packed; also takes the real tokens.
        reads: Takes the attention weights [part m n], float32, with which each latent reads the tokens of its group in
            the last `read`; None if they are not needed.
    """

    latents: bool = True
    tokens: Sink | None = None
    head: Callable[[Tensor, RealTokens], Tensor] = lambda tokens, real: tokens
    reads: Sink | None = None


def stream_trunk(
    trunk: Trunk,
    groups: Groups,
    source: TokenSource,
    latents: Tensor,
    streaming: Streaming,
    outputs: PassOutputs,
    context: Tensor | None = None,
) -> Tensor:
    """Run a trunk over the groups of one image, a handful at a time. The results equal those of `Trunk.forward`.

    Args:
        trunk: The trunk, in eval mode.
        groups: All groups of one image, or the share of this process, on the host.
        source: Source of the tokens.
        latents: Latents [g m d] before the first segment, on the device of the trunk.
        streaming: Settings of the pass.
        outputs: The outputs to compute.
        context: Conditioning tokens [1 s d], for a trunk with a condition.

    Returns:
        The latents [g m d] after the last segment, not normalised; meaningless unless `outputs.latents`.

    Raises:
        ValueError: The groups belong to more than one image.
        FitError: There is no room for the tokens between sweeps.
    """
    if groups.images != 1:
        raise ValueError(f"a streamed pass takes the groups of one image, not of {groups.images}")
    with ExitStack() as stack:
        prepare = partial(_Sweeps, trunk, groups, source, streaming, outputs, latents.dtype, latents.device, stack)
        sweeps: _Sweeps = streaming.together(prepare)
        whole = groups_on_device(groups, latents.device)
        position = streaming.journal.resume() if streaming.journal is not None else None
        position = position or Position(0, 0, latents, torch.empty_like(latents))
        del latents
        streaming.advance(position.segment * len(groups.number) + position.groups)
        while position.segment < sweeps.count:
            mix, number = sweeps.segments[position.segment].mix, position.segment + 1
            readable = trunk.readable(position.latents, whole)
            values: Tensor = streaming.together(partial(sweeps.run, position, readable))
            # Free the latents from before the sweep, so that they take no memory during `mix`.
            del position
            if mix is not None and (number < sweeps.count or outputs.latents):
                values = mix(values, whole, context, partial(apply_piecewise, piece=streaming.piece)).to(values.dtype)
            position = Position(number, 0, values, torch.empty_like(values) if number < sweeps.count else values)
            sweeps.record(position)
        return position.latents


class _Sweeps:
    """The sweeps of one pass, one per segment, and the stores between them."""

    def __init__(
        self,
        trunk: Trunk,
        groups: Groups,
        source: TokenSource,
        streaming: Streaming,
        outputs: PassOutputs,
        dtype: torch.dtype,
        device: torch.device,
        stack: ExitStack,
    ) -> None:
        self.segments = cast("list[Segment]", list(trunk.segments))
        self._causal, self._groups, self._source = trunk.causal_tokens, groups, source
        self._streaming, self._outputs, self._device = streaming, outputs, device
        # Only the tokens need the local layers after the last `mix`.
        self.count = len(self.segments) - (self.segments[-1].mix is None and outputs.tokens is None)
        self._stores = self._open_stores(dtype, stack)
        self._copies = DeviceCopies(self._device) if self._device.type == "cuda" else None

    def run(self, position: Position, readable: Tensor) -> Tensor:
        """Finish the sweep of a segment from `position` on; return the latents [g m d] after its `read`."""
        segment, last = self.segments[position.segment], position.segment == self.count - 1
        reads = segment.read is not None and (not last or self._outputs.latents)
        for part, real, before in self._tokens(position, readable):
            tokens = segment.run_local(before, real, self._causal)
            del before
            if last and self._outputs.tokens is not None:
                self._outputs.tokens(part, real.unpack(self._outputs.head(real.join(tokens), real)))
            if reads:
                self._read(segment, part, tokens, real, position, last)
            if not last:
                self._stores[position.segment % len(self._stores)].put(part, real.unpack(real.join(tokens)))
            self._streaming.advance(part.stop - part.start)
            self.record(position._replace(groups=part.stop))
        return position.new_latents if reads else position.latents

    def record(self, position: Position) -> None:
        """Record a position in the journal, if there is one."""
        if self._streaming.journal is not None and position.segment < self.count:
            self._streaming.journal.record(position, self._stores)

    def _read(
        self,
        segment: Segment,
        part: slice,
        tokens: list[Tensor],
        real: RealTokens,
        position: Position,
        last: bool,
    ) -> None:
        latents = position.latents[part]
        if last and self._outputs.reads is not None:
            self._outputs.reads(part, segment.read_weights(latents, tokens, real).float())
        position.new_latents[part] = segment.run_read(latents, tokens, real).to(position.new_latents.dtype)

    def _tokens(self, position: Position, readable: Tensor) -> Iterator[tuple[slice, RealTokens, list[Tensor]]]:
        """Yield the tokens that enter a segment, handful by handful, on the device: [r k c] of each shape of groups."""
        parts = self._streaming.slices(len(self._groups.number), position.groups)
        if position.segment == 0:
            with closing(prefetch(self._load, parts, self._streaming.ahead)) as loaded:
                for part, values in zip(parts, loaded, strict=True):
                    real = self._real(part)
                    yield part, real, real.split(self._source.embed(self._to_device(values), part, real))
            return
        before = position.segment - 1
        segment, store = self.segments[before], self._stores[before % len(self._stores)]
        with closing(prefetch(store.fetch, parts, min(store.ahead, self._streaming.ahead))) as early:
            for part, fetched in zip(parts, early, strict=True):
                real = self._real(part)
                tokens = real.split(real.pack(store.get(part, fetched)))
                yield part, real, segment.run_write(tokens, readable[part], real)

    def _open_stores(self, dtype: torch.dtype, stack: ExitStack) -> list[TokenStore]:
        """Open the stores that the sweeps write to in turn.

        With a journal there are two: a resumed sweep has to read its inputs again, so it must not overwrite them.
        """
        shape, journal = (len(self._groups.number), *self._source.shape), self._streaming.journal
        if journal is None:
            stores = [self._streaming.open_store(shape, dtype, self._device) for _ in range(min(1, self.count - 1))]
        else:
            names = ("even", "odd")[: self.count - 1]
            stores = [journal.open_store(name, shape, dtype, self._device) for name in names]
        return [stack.enter_context(store) for store in stores]

    def _load(self, part: slice) -> Tensor:
        return pin(self._source.load(part), self._device)

    def _to_device(self, values: Tensor) -> Tensor:
        if self._copies is None or values.is_cuda:
            return to_device(values, self._device)
        return self._copies.to_device(values)

    def _real(self, part: slice) -> RealTokens:
        return self._groups.real_tokens(part).map_tensors(partial(to_device, device=self._device))
