"""Interleave local and global layers (FIT, section 3; algorithm 1).

The trunk maps tokens and latents to tokens and latents; stems and heads are elsewhere. `Trunk.forward` is the reference
execution with everything in memory. Other drivers call the same submodules for a few groups at a time, because only
`mix` sees more than one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from einops import rearrange
from torch import Tensor, nn

from models.causal_strips import CausalStrips
from models.config import TrunkConfig
from models.groups import Groups
from models.images import Images, Present, SharedImages, Visible
from models.layers import Call, CrossAttentionLayer, Stack, direct, for_groups, to_autocast_dtype
from models.real_tokens import RealTokens


class Mix(nn.Module):
    """Global layers: all latents of an image attend to its conditioning tokens, if there are any, and to each other.

    Attributes:
        strips: Cuts causal attention into strips; a dry run passes its own class.
    """

    strips: type[CausalStrips] = CausalStrips

    def __init__(self, config: TrunkConfig, depth: int, context_width: int | None) -> None:
        super().__init__()
        width, heads = config.latent_width, config.latent_heads
        self.latents = config.latents
        self.causal = config.causal != "none"
        self.condition = (
            None
            if context_width is None
            else CrossAttentionLayer(width, context_width, heads, width // heads, config.cross_norm)
        )
        self.stack = Stack(depth, width, heads, config.mlp_ratio)

    def forward(self, latents: Tensor, groups: Groups, context: Tensor | None = None, call: Call = direct) -> Tensor:
        """Mix the latents of each image: [g m d] -> [g m d].

        If several ranks share the images, each passes its own latents, and every layer gathers those of all ranks.

        Args:
            latents: [g m d].
            groups: Groups of the latents.
            context: Conditioning tokens [b s d], for a `Mix` with a condition.
            call: Runs each layer.
        """
        if groups.share is None and groups.slot is not None:
            return self._image_by_image(latents, groups, context, call)
        z = rearrange(groups.arrange(latents), "b g m d -> b (g m) d")
        if self.condition is not None:
            z = call(self.condition, z, context)
        gather = None if groups.share is None else groups.gather
        z = self.stack(z, self._visible(groups, z), False, call, gather)
        return groups.scatter(rearrange(z, "b (g m) d -> b g m d", m=self.latents))

    def _image_by_image(self, latents: Tensor, groups: Groups, context: Tensor | None, call: Call) -> Tensor:
        """Run `forward` for images with different numbers of groups: all in one sequence, which only attention cuts."""
        lengths = [self.latents * count for count in groups.counts()]
        z = rearrange(latents, "g m d -> 1 (g m) d")
        if self.condition is not None:
            z = call(self.condition, z, context, Images(tuple(lengths)))
        strips = self._strips(max(lengths), max(lengths), z) if self.causal else None
        mixed: Tensor = self.stack(z, Images(tuple(lengths), strips), False, call)
        return mixed.reshape(latents.shape)

    def _visible(self, groups: Groups, z: Tensor) -> Visible:
        """Return which latents of all ranks those of this rank, z [b t d], attend to; None if all see all."""
        own, share = z.shape[1], groups.share
        if share is None:
            strips = self._strips(own, own, z) if self.causal else None
            return strips if strips is None or len(strips.mask) < own else strips.mask
        strips = self._strips(share.ranks * own, own, z) if self.causal else None
        if share.present is None:
            return None if strips is None else strips.at(share.rank * own)
        lengths = ([self.latents * groups for groups in each] for each in share.counts)
        return SharedImages(tuple(Present.of(each, share.rank) for each in lengths), strips)

    def _strips(self, count: int, own: int, z: Tensor) -> CausalStrips:
        return self.strips.of(count, own, self.latents, to_autocast_dtype(z[:0]))


class Segment(nn.Module):
    """One local -> read -> mix -> write round.

    Args:
        config: Config of the trunk.
        local: Number of local layers.
        mixing: Number of global layers; with 0 the segment consists of `local` alone.
        last: Whether this is the last segment, which needs no `write`.
        context_width: Width of the conditioning tokens; None for no conditioning.
    """

    def __init__(self, config: TrunkConfig, local: int, mixing: int, last: bool, context_width: int | None) -> None:
        super().__init__()
        c, d, ratio = config.token_width, config.latent_width, config.mlp_ratio
        cross = (config.cross_heads, config.cross_head_width, config.cross_norm, ratio if config.cross_mlp else None)
        self.local = Stack(local, c, config.token_heads, ratio, config.local_attention)
        self.read = CrossAttentionLayer(d, c, *cross) if mixing else None
        self.mix = Mix(config, mixing, context_width) if mixing else None
        self.write = CrossAttentionLayer(c, d, *cross) if mixing and not last else None

    def run_local(self, parts: Sequence[Tensor], real: RealTokens, causal: bool, call: Call = direct) -> list[Tensor]:
        """Run `local` over the tokens of each shape of groups: [r k c] each; see `RealTokens.split`."""
        return [
            self.local(tokens, None, causal, how) for tokens, how in zip(parts, for_groups(call, real), strict=True)
        ]

    def run_read(self, latents: Tensor, parts: Sequence[Tensor], real: RealTokens, call: Call = direct) -> Tensor:
        """Run `read` from latents [g m d] to the tokens [r k c] of each shape of groups -> [g m d]."""
        each = zip(real.select(latents), parts, strict=True)
        return real.merge([call(self.read, *shape) for shape in each])

    def read_weights(self, latents: Tensor, parts: Sequence[Tensor], real: RealTokens) -> Tensor:
        """Return the attention weights of `run_read`, [g m n], averaged over the heads; they are 0 for padding."""
        assert self.read is not None
        each = zip(real.select(latents), parts, strict=True)
        return real.unpack(real.join([self.read.weights(*shape).mT for shape in each])).mT

    def run_write(
        self, parts: Sequence[Tensor], readable: Tensor, real: RealTokens, call: Call = direct
    ) -> list[Tensor]:
        """Run `write` from the tokens [r k c] of each shape of groups to latents [g m d], see `Trunk.readable`."""
        return [call(self.write, *shape) for shape in zip(parts, real.select(readable), strict=True)]


class Trunk(nn.Module):
    """All segments of a model.

    Args:
        config: Sizes and switches.
        context_width: Width of the conditioning tokens that latents attend to before they mix; None for none.
    """

    def __init__(self, config: TrunkConfig, context_width: int | None = None) -> None:
        super().__init__()
        plan = config.segments
        self.causal_tokens = config.causal == "tokens"
        self.segments = nn.ModuleList(
            Segment(config, local, mixing, index == len(plan) - 1, context_width)
            for index, (local, mixing) in enumerate(plan)
        )

    def forward(
        self,
        tokens: Tensor,
        latents: Tensor,
        groups: Groups,
        real: RealTokens,
        context: Tensor | None = None,
        call: Call = direct,
    ) -> tuple[Tensor, Tensor]:
        """Run all segments in memory.

        Args:
            tokens: [g n c], or the real tokens alone, packed, see `RealTokens`.
            latents: [g m d].
            groups: Groups of the tokens and latents.
            real: Real tokens of the groups, on the device of the tokens.
            context: Conditioning tokens [b s d], for a trunk with a condition.
            call: Runs each layer.

        Returns:
            Tokens, packed as they came, and latents [g m d], neither normalised.
        """
        parts = real.split(tokens)  # [r k c] each
        for segment in cast("list[Segment]", self.segments):
            parts = segment.run_local(parts, real, self.causal_tokens, call)
            if segment.mix is None:
                break
            latents = segment.run_read(latents, parts, real, call)  # [g m d]
            latents = segment.mix(latents, groups, context, call)  # [g m d]
            if segment.write is not None:
                parts = segment.run_write(parts, self.readable(latents, groups), real, call)
        return real.join(parts), latents

    def readable(self, latents: Tensor, groups: Groups) -> Tensor:
        """Return the latents [g m d] that the tokens of each group attend to in `write`.

        These are the latents of the same group. With causal tokens they are those of the group before it, and zeros for
        the first group (FIT, section 3.2).
        """
        return groups.shift(latents) if self.causal_tokens else latents
