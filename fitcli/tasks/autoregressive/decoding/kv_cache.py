"""An autoregressive decoder that is given its tokens one after the other, and computes nothing twice.

What can be computed when follows from the masks of the model (FIT, section 3.2). A token attends to earlier tokens of
its group and reads what the latents of the group before became: so a step takes the local layers over one token, with
their keys and values kept for as long as the group lasts. When a group is complete, its latents read it and attend to
the latents of all groups so far, whose keys and values are kept for good: the only part that grows with the image.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from torch import Tensor

from models.cache import KeyValues
from models.decoder import FITDecoder
from models.groups import Groups
from models.layers import CrossAttentionLayer, SelfAttentionLayer
from models.trunk import Mix, Segment


class _Round(NamedTuple):
    """A segment and what is kept for it. `tokens` [b n c], those of this group after `local`, where latents read them.

    Attributes:
        local, read, mix, write: Of the segment; the last three None where nothing that follows depends on them.
        local_seen, mix_seen: Keys and values of the layers, of this group and of all groups.
    """

    local: list[SelfAttentionLayer]
    read: CrossAttentionLayer | None
    mix: Mix | None
    write: CrossAttentionLayer | None
    local_seen: list[KeyValues]
    mix_seen: list[KeyValues]
    tokens: Tensor


class CachedDecoder:
    """A decoder in the middle of a batch of sequences of one arrangement.

    Gives the logits that `FITDecoder.forward` gives for the same ids. Runs in the dtype of the weights, and is to be
    used in inference mode.

    Args:
        model: In eval mode.
        groups: Those of one image, on the device of the model, whole and in the order of the sequence.
        labels: Classes of the images [b], where the model has classes.
        batch: Number of images, b.
    """

    def __init__(self, model: FITDecoder, groups: Groups, batch: int, labels: Tensor | None = None) -> None:
        if groups.images != 1 or groups.mask is not None:
            raise ValueError(f"a sequence is whole groups of one image, not of {groups.images}")
        self.model, self.batch, self.config = model, batch, model.config
        like = model.embedding.weight
        self._positions: Tensor = model.positions(like)  # [n c]
        self._start: Tensor = model.start(groups, like)  # [g m d]
        self._context = model.context(labels)  # [b 1 d]
        self._rounds = [self._round(segment, like) for segment in cast("list[Segment]", model.trunk.segments)]
        self._group = self._place = 0
        self._readable: list[tuple[Tensor, Tensor]] = []
        zeros = like.new_zeros(batch, self.config.latents, self.config.latent_width)
        self._make_readable([zeros] * len(self._rounds))

    def _round(self, segment: Segment, like: Tensor) -> _Round:
        config, count = self.config, len(self._start)
        width = config.token_width // config.token_heads, config.latent_width // config.latent_heads
        # Latents that no token reads are not worth computing: those of the last segment.
        mix = segment.mix if segment.write is not None else None
        return _Round(
            local=list(segment.local),
            read=segment.read if segment.write is not None else None,
            mix=mix,
            write=segment.write,
            local_seen=[
                KeyValues(self.batch, config.token_heads, config.tokens, width[0], like) for _ in segment.local
            ],
            mix_seen=[
                KeyValues(self.batch, config.latent_heads, count * config.latents, width[1], like)
                for _ in (() if mix is None else mix.stack)
            ],
            tokens=like.new_empty(self.batch, config.tokens, config.token_width),
        )

    @property
    def place(self) -> tuple[int, int]:
        """Group and place in it of the token whose logits the next step gives."""
        return self._group, self._place

    def step(self, ids: Tensor) -> Tensor:
        """The ids [b] before a place -> the logits [b vocabulary] at that place.

        Raises:
            ValueError: All groups are complete.
        """
        logits = self.logits(self._place, ids)
        self.advance()
        return logits

    def logits(self, place: int, ids: Tensor) -> Tensor:
        """The ids [b] before a place of this group -> the logits [b vocabulary] at that place, without going on.

        Works in memory that stays where it is, and on shapes that follow from the place alone, whatever the group: it
        can be recorded. All places before it must have been given.

        Raises:
            ValueError: All groups are complete.
        """
        self._expect_room()
        tokens = self.model.embedding(ids)[:, None] + self._positions[place]  # [b 1 c]
        for index, one in enumerate(self._rounds):
            for layer, seen in zip(one.local, one.local_seen, strict=True):
                seen.length = place
                tokens = layer.extend(tokens, seen)
            if one.write is not None:
                one.tokens[:, place] = tokens[:, 0]
                tokens = one.write.attend(tokens, *self._readable[index])
        return self.model.predict(tokens[:, 0])

    def advance(self) -> None:
        """Go on to the next place, whose group may be the next one."""
        self._place += 1
        if self._place == self.config.tokens:
            self._complete()

    def take(self, ids: Tensor) -> None:
        """A whole group of ids [b n], each the one before its place, without a need for their logits.

        Raises:
            ValueError: A group has been begun, or all are complete.
        """
        self._expect_room()
        if self._place:
            raise ValueError(f"{self._place} tokens of the group have been given already")
        tokens = self.model.embed(ids)  # [b n c]
        for index, (one, segment) in enumerate(zip(self._rounds, self.model.trunk.segments, strict=True)):
            tokens = cast(Segment, segment).local(tokens, None, True)
            if one.write is not None:
                one.tokens.copy_(tokens)
                tokens = one.write.attend(tokens, *self._readable[index])
        self._complete()

    def _expect_room(self) -> None:
        if self._group == len(self._start):
            raise ValueError(f"all {self._group} groups are complete")

    def _complete(self) -> None:
        """The latents of a complete group read it and mix with those of the groups before."""
        latents = self._start[self._group].expand(self.batch, -1, -1)  # [b m d]
        self._group, self._place = self._group + 1, 0
        for one in self._rounds:
            for seen in one.local_seen:
                seen.clear()
        if self._group == len(self._start):
            return
        readable = []
        for one in self._rounds:
            if one.read is None or one.mix is None:
                break
            latents = one.read(latents, one.tokens)
            if one.mix.condition is not None:
                latents = one.mix.condition(latents, self._context)
            for layer, seen in zip(one.mix.stack, one.mix_seen, strict=True):
                latents = layer.extend(latents, seen)
            readable.append(latents)
        self._make_readable(readable)

    def _make_readable(self, latents: list[Tensor]) -> None:
        """What the tokens of the next group read after each segment, as keys and values: where those before were."""
        made = [
            one.write.keys_values(each)
            for one, each in zip(self._rounds, latents, strict=False)
            if one.write is not None
        ]
        if not self._readable:
            self._readable = made
            return
        for olds, news in zip(self._readable, made, strict=True):
            for old, new in zip(olds, news, strict=True):
                old.copy_(new)
