"""Interleave local and global layers (FIT, section 3; algorithm 1).

The trunk maps tokens and latents to tokens and latents; stems and heads are elsewhere. `Trunk.forward` is the reference
execution with everything in memory. Other drivers call the same submodules for a few groups at a time, because only
`mix` sees more than one group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from einops import rearrange, repeat
from torch import Tensor, nn

from models.causal_strips import CausalStrips, Present, Visible
from models.compilable import Region
from models.config import TrunkConfig
from models.groups import Groups
from models.layers import Call, CrossAttentionLayer, Stack, direct, to_autocast_dtype


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
        for layer in self.modules():
            if isinstance(layer, Region):
                # Both the number of images and the number of latents per image vary.
                layer.dynamic_axes = 2

    def forward(self, latents: Tensor, groups: Groups, context: Tensor | None = None, call: Call = direct) -> Tensor:
        """Mix the latents of each image: [g m d] -> [g m d].

        If several ranks share the images, each passes its own latents, and every layer gathers those of all ranks.

        Args:
            latents: [g m d].
            groups: Groups of the latents.
            context: Conditioning tokens [b s d], for a `Mix` with a condition.
            call: Runs each layer.
        """
        z = rearrange(groups.arrange(latents), "b g m d -> b (g m) d")
        if self.condition is not None:
            z = call(self.condition, z, context)
        gather = None if groups.share is None else groups.gather
        z = self.stack(z, self._visible(groups, z), False, call, gather)
        return groups.scatter(rearrange(z, "b (g m) d -> b g m d", m=self.latents))

    def _visible(self, groups: Groups, z: Tensor) -> Visible:
        """Return which latents of all ranks those of this rank, z [b t d], attend to; None if all see all."""
        if not self.causal:
            present = groups.present()
            return None if present is None else repeat(present, "b g -> b 1 1 (g m)", m=self.latents)
        own, share = z.shape[1], groups.share
        ranks, like = 1 if share is None else share.ranks, to_autocast_dtype(z[:0])
        strips = self.strips.of(ranks * own, own, self.latents, like)
        if share is None:
            # The padding of an image comes after its latents, which do not see it.
            return strips if len(strips.mask) < own else strips.mask
        if share.present is None:
            return strips.at(share.rank * own)
        lengths = ([self.latents * groups for groups in each] for each in share.counts)
        return replace(strips, present=tuple(Present.of(each, share.rank) for each in lengths))


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
        self, tokens: Tensor, latents: Tensor, groups: Groups, context: Tensor | None = None, call: Call = direct
    ) -> tuple[Tensor, Tensor]:
        """Run all segments in memory.

        Args:
            tokens: [g n c].
            latents: [g m d].
            groups: Groups of the tokens and latents; `groups.mask` hides padding.
            context: Conditioning tokens [b s d], for a trunk with a condition.
            call: Runs each layer.

        Returns:
            Tokens [g n c] and latents [g m d], neither normalised.
        """
        mask = key_mask(groups.mask)
        for segment in cast("list[Segment]", self.segments):
            tokens = segment.local(tokens, mask, self.causal_tokens, call)  # [g n c]
            if segment.read is None or segment.mix is None:
                break
            latents = call(segment.read, latents, tokens, mask)  # [g m d]
            latents = segment.mix(latents, groups, context, call)  # [g m d]
            if segment.write is not None:
                tokens = call(segment.write, tokens, self.readable(latents, groups))  # [g n c]
        return tokens, latents

    def readable(self, latents: Tensor, groups: Groups) -> Tensor:
        """Return the latents [g m d] that the tokens of each group attend to in `write`.

        These are the latents of the same group. With causal tokens they are those of the group before it, and zeros for
        the first group (FIT, section 3.2).
        """
        return groups.shift(latents) if self.causal_tokens else latents


def key_mask(mask: Tensor | None) -> Tensor | None:
    """Turn a mask [g n], False for padding, into an attention mask [g 1 1 n] for all queries of a group."""
    return None if mask is None else mask[:, None, None, :]
