"""The interleaving of local and global layers, written once (FIT, section 3; algorithm 1).

Knows groups, tokens and latents; not where tokens come from, nor what is predicted from them. `Trunk.forward` is the
obvious execution with everything in memory. Other drivers call the same submodules a few groups at a time: only `mix`
sees more than one group.
"""

from __future__ import annotations

from typing import cast

from einops import rearrange, repeat
from torch import Tensor, nn

from models.compilable import Region
from models.config import TrunkConfig
from models.groups import Groups
from models.layers import Call, CrossAttentionLayer, Stack, direct
from models.masks import group_causal_mask


class Mix(nn.Module):
    """All latents of an image attend to its conditioning tokens, where there are any, and to each other."""

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
                # Images, and the latents of all their groups.
                layer.dynamic_axes = 2

    def forward(self, latents: Tensor, groups: Groups, context: Tensor | None = None, call: Call = direct) -> Tensor:
        """[g m d], conditioning tokens [b s d] -> [g m d]. `call` runs each layer.

        Where several ranks share the images, each has its own latents here: they attend to those of all, which every
        layer gathers.
        """
        z = rearrange(groups.arrange(latents), "b g m d -> b (g m) d")
        if self.condition is not None:
            z = call(self.condition, z, context)
        gather = None if groups.share is None else groups.gather
        z = self.stack(z, self._mask(groups, z), False, call, gather)
        return groups.scatter(rearrange(z, "b (g m) d -> b g m d", m=self.latents))

    def _mask(self, groups: Groups, z: Tensor) -> Tensor | None:
        """[b 1 t u], of own latents to those of all ranks, or what broadcasts to it; None where all see all."""
        present = groups.present()
        mask = None if present is None else repeat(present, "b g -> b 1 1 (g m)", m=self.latents)
        if self.causal:
            rank, ranks = (0, 1) if groups.share is None else groups.share[:2]
            own, count = slice(rank * z.shape[1], (rank + 1) * z.shape[1]), ranks * z.shape[1]
            causal = group_causal_mask(count, self.latents, z.device, own)
            mask = causal if mask is None else mask & causal
        return mask


class Segment(nn.Module):
    """One local -> read -> mix -> write round.

    Args:
        config: Of the trunk.
        local: Number of local layers.
        mixing: Number of global layers; with none the segment is `local` alone.
        last: Nothing follows that would read what `write` writes.
        context_width: Of the conditioning tokens; None without.
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
    """The segments in a row.

    Args:
        config: Sizes and switches.
        context_width: Width of the conditioning tokens that latents attend to before they mix; None without.
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
            groups: What the groups are; `groups.mask` hides padded patches.
            context: Conditioning tokens [b s d], where the trunk has a condition.
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
        """The latents [g m d] that the tokens of each group read in `write`.

        Their own group's; with causal tokens those of the group before, and zeros for the first (FIT, section 3.2).
        """
        return groups.shift(latents) if self.causal_tokens else latents


def key_mask(mask: Tensor | None) -> Tensor | None:
    """[g n], True for real patches -> [g 1 1 n]: what every query of a group may attend to."""
    return None if mask is None else mask[:, None, None, :]
