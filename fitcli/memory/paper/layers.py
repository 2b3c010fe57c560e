"""Layers and segments of a trunk on paper: the twin of `models/layers.py` and `models/trunk.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from fitcli.memory.paper.ledger import Value
from fitcli.memory.paper.operations import FLOAT, Operations
from fitcli.memory.paper.tape import Product
from models.config import TrunkConfig

Layer = Literal["direct", "checkpoint", "attention", "selective"]
"""How to run a layer: keep everything, or recompute it in the backward pass, except for some results."""

PRODUCTS: dict[Layer, tuple[Product, ...]] = {
    "checkpoint": (), "attention": ("attention",), "selective": ("product", "attention"),
}  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """The layers of a model.

    Attributes:
        config: Config of the model.
        run: Operations.
        images: Images of the batch, with equally many groups.
        context: Tokens per image that its latents attend to; 0 without.
        ranks: Number of processes that share the images. The groups are those of one; latents attend to all.
    """

    config: TrunkConfig
    run: Operations
    images: int = 1
    context: int = 0
    ranks: int = 1

    def feed_forward(self, x: Value, rows: int, width: int, name: str) -> Value:
        """Run `FeedForward`."""
        run, hidden = self.run, self.config.mlp_ratio * width
        normed = run.norm(x, rows, width, f"{name}.norm")
        up = run.linear(normed, rows, width, hidden, f"{name}.up")
        del normed
        hot = run.pointwise(up)
        del up
        down = run.linear(hot, rows, hidden, width, f"{name}.down")
        del hot
        return run.add(x, down)

    def self_attention(
        self, x: Value, rows: int, keys: int, width: int, heads: int, name: str, attention: bool = True, ranks: int = 1
    ) -> Value:
        """Run `SelfAttentionLayer`; `keys` is the number of keys of one rank."""
        if attention:
            run, inner = self.run, heads * (width // heads)
            normed = run.norm(x, rows, width, f"{name}.attention.norm")
            if ranks == 1:
                projected = [run.linear(normed, rows, width, 3 * inner, f"{name}.qkv")]
            else:
                everyone = run.gathered(normed, rows * width, ranks)
                query = run.linear(normed, rows, width, inner, f"{name}.query")
                projected = [query, run.linear(everyone, rows * ranks, width, 2 * inner, f"{name}.key_value")]
                del everyone, query
            del normed
            attended = run.attention(projected, rows, keys * ranks, inner, heads)
            projected.clear()
            out = run.linear(attended, rows, inner, width, f"{name}.out")
            del attended
            x = run.add(x, out)
            del out
        return self.feed_forward(x, rows, width, name)

    def cross_attention(
        self, x: Value, source: Value, rows: int, source_rows: int, keys: int, widths: tuple[int, int], name: str,
        heads: int, head_width: int, mlp: bool, norm_source: bool,
    ) -> Value:  # fmt: skip
        """Run `CrossAttentionLayer`."""
        run, inner, (width, source_width) = self.run, heads * head_width, widths
        normed = run.norm(x, rows, width, f"{name}.norm")
        if norm_source:
            source = run.norm(source, source_rows, source_width, f"{name}.source_norm")
        query = run.linear(normed, rows, width, inner, f"{name}.query")
        key_value = run.linear(source, source_rows, source_width, 2 * inner, f"{name}.key_value")
        attended = run.attention([query, key_value], rows, keys, inner, heads)
        del query, key_value
        out = run.linear(attended, rows, inner, width, f"{name}.attention.out")
        del attended, normed, source
        x = run.add(x, out)
        del out
        return self.feed_forward(x, rows, width, name) if mlp else x

    def local(self, tokens: Value, groups: int, segment: int, layer: Layer) -> Value:
        """Run the local layers of a segment over some groups."""
        config, rows = self.config, groups * self.config.tokens
        self.run.place = "local"
        for number in range(config.segments[segment][0]):
            tokens = self.call(
                layer,
                lambda x, number=number: self.self_attention(
                    x,
                    rows,
                    config.tokens,
                    config.token_width,
                    config.token_heads,
                    f"{segment}.local.{number}",
                    config.local_attention,
                ),
                tokens,
            )
        return tokens

    def read(self, latents: Value, tokens: Value, groups: int, segment: int) -> Value:
        """Let latents attend to the tokens of their group."""
        config = self.config
        self.run.place = "cross"
        return self.cross_attention(
            latents, tokens, groups * config.latents, groups * config.tokens, config.tokens,
            (config.latent_width, config.token_width), f"{segment}.read", config.cross_heads, config.cross_head_width,
            config.cross_mlp, config.cross_norm,
        )  # fmt: skip

    def write(self, tokens: Value, latents: Value, groups: int, segment: int) -> Value:
        """Let tokens attend to the latents of their group."""
        config = self.config
        self.run.place = "cross"
        return self.cross_attention(
            tokens, latents, groups * config.tokens, groups * config.latents, config.latents,
            (config.token_width, config.latent_width), f"{segment}.write", config.cross_heads, config.cross_head_width,
            config.cross_mlp, config.cross_norm,
        )  # fmt: skip

    def mix(self, latents: Value, groups: int, segment: int, layer: Layer) -> Value:
        """Let the latents of all groups attend to each other."""
        config, rows = self.config, groups * self.config.latents
        heads, width, keys = config.latent_heads, config.latent_width, rows // self.images
        self.run.place = "global"
        with self.run.labelled("latents"):
            if self.context:
                latents = self.call(layer, partial(self.condition, rows=rows, name=f"{segment}.condition"), latents)
            for number in range(config.segments[segment][1]):
                latents = self.call(
                    layer,
                    lambda x, number=number: self.self_attention(
                        x, rows, keys, width, heads, f"{segment}.mix.{number}", ranks=self.ranks
                    ),
                    latents,
                )
        return latents

    def condition(self, latents: Value, rows: int, name: str) -> Value:
        """Let latents attend to the few tokens that describe an image."""
        config = self.config
        source = self.run.make(FLOAT * self.images * self.context * config.latent_width)
        return self.cross_attention(
            latents, Value(source), rows, self.images * self.context, self.context,
            (config.latent_width, config.latent_width), name, config.latent_heads,
            config.latent_width // config.latent_heads, False, config.cross_norm,
        )  # fmt: skip

    def call(self, layer: Layer, function: Callable[..., Value], *values: Value) -> Value:
        """Run a layer in the given way."""
        if layer == "direct" or not self.run.recording:
            return function(*values)
        (result,) = self.run.checkpoint(lambda *again: [function(*again)], list(values), PRODUCTS[layer])
        assert result is not None
        return result
