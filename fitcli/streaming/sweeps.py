"""Drives a trunk a few groups at a time: the same submodules as `Trunk.forward`, one sweep over the groups per segment.

Device memory is the weights, the latents of the whole image and a handful of groups. The tokens of all groups rest in a
store between sweeps; a plan of one segment stores none. Knows no files: what a handful of groups looks like comes from
a callable, which is called early, in another thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor

from fitcli.device.transfer import DeviceCopies, pinned, to_device
from fitcli.streaming.device_inputs import groups_on_device, mask_on_device
from fitcli.streaming.token_store import StoreKind, TokenStore, open_store
from models.groups import Groups
from models.layers import CrossAttentionLayer
from models.piecewise_latents import apply_piecewise
from models.trunk import Segment, Trunk, key_mask

T = TypeVar("T")

AHEAD = 2
"""Handfuls that are read while one is computed."""

Load = Callable[[slice], Tensor]
"""Gives what the tokens of a slice of the groups are made of: [part n ...], on the host, or on the device where they
rest there. Called in another thread, in order, once per slice. What it raises ends the pass."""

Sink = Callable[[slice, Tensor], None]
"""Is given values [part ...] of a slice of the groups, in order, on the device."""


class Position(NamedTuple):
    """How far a pass is.

    Attributes:
        segment: Being swept.
        groups: Finished in this sweep.
        latents: [g m d] at the start of the sweep.
        fresh: [g m d], those of the finished groups after `read`.
    """

    segment: int
    groups: int
    latents: Tensor
    fresh: Tensor


class Journal(Protocol):
    """Remembers how far a pass is, beyond the life of this process."""

    def resume(self) -> Position | None:
        """Where to go on; None at the beginning."""

    def reached(self, position: Position, stores: Sequence[TokenStore]) -> None:
        """Told after every handful."""

    def open_store(
        self, name: str, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
    ) -> TokenStore:
        """A store that is there again after `resume`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Streaming:
    """How a pass is run. Nothing of it changes what comes out, but for rounding.

    Attributes:
        handful: Groups that are computed together.
        store: Where tokens rest between sweeps.
        advance: Told the number of groups finished, for every segment.
        journal: To go on after the end of this process.
    """

    handful: int
    store: StoreKind = "host"
    advance: Callable[[int], None] = lambda count: None
    journal: Journal | None = None

    def slices(self, count: int, first: int = 0) -> list[slice]:
        """The handfuls of `count` groups from number `first` on."""
        return [slice(start, min(start + self.handful, count)) for start in range(first, count, self.handful)]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenSource:
    """Where the tokens of a pass come from.

    Attributes:
        load: See `Load`.
        embed: Makes tokens [part n c] of what was loaded for a slice of the groups, on the device.
        shape: (n, c).
    """

    load: Load
    embed: Callable[[Tensor, slice], Tensor]
    shape: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PassOutputs:
    """What a pass is for.

    Attributes:
        latents: The latents after the last segment.
        tokens: Takes the tokens [part n c] after the last local layers.
        reads: Takes [part m n] float32: how much each latent read of each token of its group in the last `read`.
    """

    latents: bool = True
    tokens: Sink | None = None
    reads: Sink | None = None

    def map_tokens(self, function: Callable[[Tensor], Tensor]) -> PassOutputs:
        """Return the same outputs, where `tokens` takes `function` of the tokens."""
        take = self.tokens
        return self if take is None else replace(self, tokens=lambda part, tokens: take(part, function(tokens)))


def stream_trunk(
    trunk: Trunk,
    groups: Groups,
    source: TokenSource,
    latents: Tensor,
    how: Streaming,
    wanted: PassOutputs,
    context: Tensor | None = None,
) -> Tensor:
    """Run a trunk over the groups of one image, a handful at a time; equal to `Trunk.forward`.

    Args:
        trunk: In eval mode.
        groups: All groups of one image, on the host.
        source: Of the tokens.
        latents: At the start, [g m d] on the device of the trunk.
        how: Handfuls and store.
        wanted: What comes out.
        context: Conditioning tokens [1 s d], where the trunk has a condition.

    Returns:
        The latents after the last segment, not normalised; without meaning where they are not wanted.

    Raises:
        ValueError: The groups belong to more than one image.
        FitError: There is no room for tokens at rest.
    """
    if groups.images != 1:
        raise ValueError(f"streaming takes the groups of one image, not of {groups.images}")
    with ExitStack() as stack:
        sweeps = _Sweeps(trunk, groups, source, how, wanted, latents, stack)
        whole = groups_on_device(groups, latents.device)
        at = how.journal.resume() if how.journal is not None else None
        at = at or Position(0, 0, latents, torch.empty_like(latents))
        del latents
        how.advance(at.segment * len(groups.number) + at.groups)
        while at.segment < sweeps.count:
            mix, number = sweeps.segments[at.segment].mix, at.segment + 1
            values = sweeps.run(at, trunk.readable(at.latents, whole))
            # The latents of before must not take up memory while these are mixed.
            del at
            if mix is not None and (number < sweeps.count or wanted.latents):
                values = mix(values, whole, context, apply_piecewise).to(values.dtype)
            at = Position(number, 0, values, torch.empty_like(values) if number < sweeps.count else values)
            sweeps.remember(at)
        return at.latents


class _Sweeps:
    """The sweeps of one pass, one per segment, and the stores between them."""

    def __init__(
        self,
        trunk: Trunk,
        groups: Groups,
        source: TokenSource,
        how: Streaming,
        wanted: PassOutputs,
        latents: Tensor,
        stack: ExitStack,
    ) -> None:
        self.segments = cast("list[Segment]", list(trunk.segments))
        self._causal, self._groups, self._source = trunk.causal_tokens, groups, source
        self._how, self._wanted, self._device = how, wanted, latents.device
        # What comes after the last `mix` is for the tokens alone.
        self.count = len(self.segments) - (self.segments[-1].mix is None and wanted.tokens is None)
        self._stores = self._open_stores(latents.dtype, stack)
        self._copies = DeviceCopies(self._device) if self._device.type == "cuda" else None

    def run(self, at: Position, readable: Tensor) -> Tensor:
        """The rest of a sweep: from what enters a segment to its latents [g m d] after `read`."""
        segment, last = self.segments[at.segment], at.segment == self.count - 1
        reads = segment.read is not None and (not last or self._wanted.latents)
        for part, tokens in self._tokens(at, readable):
            mask = self._mask(part)
            tokens = segment.local(tokens, mask, self._causal)
            if last and self._wanted.tokens is not None:
                self._wanted.tokens(part, tokens)
            if reads:
                self._read(segment.read, part, tokens, mask, at, last)
            if not last:
                self._stores[at.segment % len(self._stores)].put(part, tokens)
            self._how.advance(part.stop - part.start)
            self.remember(at._replace(groups=part.stop))
        return at.fresh if reads else at.latents

    def remember(self, at: Position) -> None:
        """Tell the journal, where there is one."""
        if self._how.journal is not None and at.segment < self.count:
            self._how.journal.reached(at, self._stores)

    def _read(
        self,
        read: CrossAttentionLayer | None,
        part: slice,
        tokens: Tensor,
        mask: Tensor | None,
        at: Position,
        last: bool,
    ) -> None:
        assert read is not None
        if last and self._wanted.reads is not None:
            self._wanted.reads(part, read.weights(at.latents[part], tokens, mask).float())
        at.fresh[part] = read(at.latents[part], tokens, mask).to(at.fresh.dtype)

    def _tokens(self, at: Position, readable: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The tokens [part n c] that enter a segment, handful by handful, on the device."""
        parts = self._how.slices(len(self._groups.number), at.groups)
        if at.segment == 0:
            with closing(prefetch(self._load, parts)) as loaded:
                for part, values in zip(parts, loaded, strict=True):
                    yield part, self._source.embed(self._to_device(values), part)
            return
        write, store = self.segments[at.segment - 1].write, self._stores[(at.segment - 1) % len(self._stores)]
        assert write is not None
        with closing(prefetch(store.fetch, parts, store.ahead)) as early:
            for part, fetched in zip(parts, early, strict=True):
                yield part, write(store.get(part, fetched), readable[part])

    def _open_stores(self, dtype: torch.dtype, stack: ExitStack) -> list[TokenStore]:
        """What the sweeps write to in turn. With a journal, none overwrites what it may have to read again."""
        shape, journal = (len(self._groups.number), *self._source.shape), self._how.journal
        if journal is None:
            stores = [open_store(self._how.store, shape, dtype, self._device) for _ in range(min(1, self.count - 1))]
        else:
            names = ("even", "odd")[: self.count - 1]
            stores = [journal.open_store(name, shape, dtype, self._device) for name in names]
        return [stack.enter_context(store) for store in stores]

    def _load(self, part: slice) -> Tensor:
        return pinned(self._source.load(part), self._device)

    def _to_device(self, values: Tensor) -> Tensor:
        return (
            to_device(values, self._device)
            if self._copies is None or values.is_cuda
            else self._copies.to_device(values)
        )

    def _mask(self, part: slice) -> Tensor | None:
        return key_mask(mask_on_device(self._groups, part, self._device))


def prefetch(
    function: Callable[[slice], T], arguments: Sequence[slice], ahead: int = AHEAD
) -> Generator[T, None, None]:
    """Results of `function` for all arguments, in order, computed up to `ahead` calls early in another thread.

    What the function raises is raised here, at its place in the order; calls that have not begun are dropped. With
    `ahead` 0 the function is called in this thread.
    """
    if ahead == 0:
        yield from map(function, arguments)
        return
    with ThreadPoolExecutor(1, "prefetch") as pool:
        pending = deque(pool.submit(function, argument) for argument in arguments[:ahead])
        try:
            for following in [*arguments[ahead:], *[None] * len(pending)]:
                result = pending.popleft().result()
                if following is not None:
                    pending.append(pool.submit(function, following))
                yield result
        finally:
            for future in pending:
                future.cancel()
