"""Decodes tokens one after the other with a KV cache, so that nothing is computed twice.

The masks of the model (FIT, section 3.2) decide what can be reused. A token attends to earlier tokens of its group and
reads the latents of the group before. So each new token runs the local layers with a KV cache that lives as long as its
group. When a group is complete, its latents read it and attend to the latents of all groups so far, with a KV cache
that lives as long as the image: the only part that grows with the image.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor

from models.cache import KeyValues
from models.decoder import FITDecoder
from models.groups import Groups
from models.layers import CrossAttentionLayer, SelfAttentionLayer
from models.trunk import Mix, Segment


class _CachedSegment(NamedTuple):
    """A segment and its caches.

    Attributes:
        local: Local layers.
        read, mix, write: The other parts of the segment; None if no later token depends on them.
        local_cache: Keys and values of the local layers, for the current group.
        mix_cache: Keys and values of the layers of `mix`, for all groups so far.
        tokens: Tokens [b n c] of the current group after `local`, for `read`.
    """

    local: list[SelfAttentionLayer]
    read: CrossAttentionLayer | None
    mix: Mix | None
    write: CrossAttentionLayer | None
    local_cache: list[KeyValues]
    mix_cache: list[KeyValues]
    tokens: Tensor


class CachedDecoder:
    """Decodes a batch of sequences of the same groups, token by token.

    The logits equal those of `FITDecoder.forward` for the same ids. The computation runs in the dtype of the weights.
    Use it in inference mode.

    Args:
        model: The decoder, in eval mode.
        groups: All groups of one image without padding, in the order of the sequence, on the device of the model.
        batch: Number of images, b.
        labels: Classes of the images [b]; None for a model without classes.

    Raises:
        ValueError: The groups belong to several images or are padded.
    """

    def __init__(self, model: FITDecoder, groups: Groups, batch: int, labels: Tensor | None = None) -> None:
        if groups.images != 1 or groups.mask is not None:
            raise ValueError(f"a sequence is whole groups of one image, not of {groups.images}")
        self.model, self.batch, self.config = model, batch, model.config
        like = model.embedding.weight
        self._positions: Tensor = model.positions(like)  # [n c]
        self._start: Tensor = model.start(groups, like)  # [g m d]
        self._context = model.context(labels)  # [b 1 d]
        self._segments = [self._cached(segment, like) for segment in cast("list[Segment]", model.trunk.segments)]
        self._group = self._token = 0
        self._readable: list[tuple[Tensor, Tensor]] = []
        zeros = like.new_zeros(batch, self.config.latents, self.config.latent_width)
        self._make_readable([zeros] * len(self._segments))

    def _cached(self, segment: Segment, like: Tensor) -> _CachedSegment:
        config, count = self.config, len(self._start)
        token_head, latent_head = config.token_width // config.token_heads, config.latent_width // config.latent_heads
        # No token reads the latents of the last segment, so they are not computed.
        mix = segment.mix if segment.write is not None else None
        return _CachedSegment(
            local=list(segment.local),
            read=segment.read if segment.write is not None else None,
            mix=mix,
            write=segment.write,
            local_cache=[
                KeyValues(self.batch, config.token_heads, config.tokens, token_head, like) for _ in segment.local
            ],
            mix_cache=[
                KeyValues(self.batch, config.latent_heads, count * config.latents, latent_head, like)
                for _ in (() if mix is None else mix.stack)
            ],
            tokens=like.new_empty(self.batch, config.tokens, config.token_width),
        )

    @property
    def position(self) -> tuple[int, int]:
        """Number of the group, and of the token in it, whose logits the next step returns."""
        return self._group, self._token

    def step(self, ids: Tensor) -> Tensor:
        """Return the logits [b vocabulary] at the current position, and advance.

        Args:
            ids: The ids [b] before the position.

        Raises:
            ValueError: All groups are complete.
        """
        logits = self.logits(self._token, ids)
        self.advance()
        return logits

    def logits(self, token: int, ids: Tensor) -> Tensor:
        """Return the logits [b vocabulary] at a position of the current group, without advancing.

        The memory stays at the same addresses, and shapes depend on `token` only, not on the group: the kernels can be
        recorded once and replayed for every group.

        Args:
            token: Number of the token in the group. All tokens before it must have been given.
            ids: The ids [b] before the position.

        Raises:
            ValueError: All groups are complete.
        """
        self._check_incomplete()
        tokens = self.model.embedding(ids)[:, None] + self._positions[token]  # [b 1 c]
        for index, segment in enumerate(self._segments):
            for layer, cache in zip(segment.local, segment.local_cache, strict=True):
                cache.length = token
                tokens = layer.extend(tokens, cache)
            if segment.write is not None:
                segment.tokens[:, token] = tokens[:, 0]
                tokens = segment.write.attend(tokens, *self._readable[index])
        return self.model.predict(tokens[:, 0])

    def advance(self) -> None:
        """Advance to the next position, and to the next group after the last token of a group."""
        self._token += 1
        if self._token == self.config.tokens:
            self._complete_group()

    def take(self, ids: Tensor) -> None:
        """Process a whole group at once, without its logits.

        Args:
            ids: The ids [b n] before each position of the group.

        Raises:
            ValueError: The current group has tokens already, or all groups are complete.
        """
        self._check_incomplete()
        if self._token:
            raise ValueError(f"{self._token} tokens of the group have been given already")
        tokens = self.model.embed(ids)  # [b n c]
        for index, (cached, segment) in enumerate(zip(self._segments, self.model.trunk.segments, strict=True)):
            tokens = cast(Segment, segment).local(tokens, None, True)
            if cached.write is not None:
                cached.tokens.copy_(tokens)
                tokens = cached.write.attend(tokens, *self._readable[index])
        self._complete_group()

    def _check_incomplete(self) -> None:
        if self._group == len(self._start):
            raise ValueError(f"all {self._group} groups are complete")

    def _complete_group(self) -> None:
        """Let the latents of the current group read it and attend to those of the groups before; start the next."""
        latents = self._start[self._group].expand(self.batch, -1, -1)  # [b m d]
        self._group, self._token = self._group + 1, 0
        for segment in self._segments:
            for cache in segment.local_cache:
                cache.clear()
        if self._group == len(self._start):
            return
        readable = []
        for segment in self._segments:
            if segment.read is None or segment.mix is None:
                break
            latents = segment.read(latents, segment.tokens)
            if segment.mix.condition is not None:
                latents = segment.mix.condition(latents, self._context)
            for layer, cache in zip(segment.mix.stack, segment.mix_cache, strict=True):
                latents = layer.extend(latents, cache)
            readable.append(latents)
        self._make_readable(readable)

    def _make_readable(self, latents: list[Tensor]) -> None:
        """Store the latents after each segment as keys and values that the tokens of the next group read.

        They overwrite those of the group before, because recorded kernels read them at fixed addresses.
        """
        fresh = [
            segment.write.keys_values(each)
            for segment, each in zip(self._segments, latents, strict=False)
            if segment.write is not None
        ]
        if not self._readable:
            self._readable = fresh
            return
        for old_pair, new_pair in zip(self._readable, fresh, strict=True):
            for old, new in zip(old_pair, new_pair, strict=True):
                old.copy_(new)
