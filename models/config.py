"""What a model is, as validated data: the sizes, the switches. Standard library only."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from models.checks import ConfigError, check_even, check_one_of, check_positive, check_type
from models.layer_plan import parse_plan

TokenPositionKind = Literal["learned", "sincos", "sincos2d"]
LatentPositionKind = Literal["learned", "sincos", "coordinates"]
Causality = Literal["none", "groups", "tokens"]

JSON_KEYS = {"targets": "tasks"}
"""Keys of the JSON form that differ from the names of their fields: runs of earlier versions have these."""

OVERLAP_KERNEL = 4
"""Pixels per side of the kernels of an overlapping stem: as even as the stride, so that they are centred on a patch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig:
    """The interleaving and what all three models share.

    Attributes:
        plan: Layer plan, see `parse_plan`.
        tokens: Tokens per group, n.
        latents: Latents per group, m.
        token_width, latent_width: c and d.
        token_heads, latent_heads: Attention heads; the width of a head is floored where they don't divide.
        mlp_ratio: Hidden width of a feed-forward layer over its width.
        token_positions: "learned" table, or sinusoidal over the order ("sincos") or square ("sincos2d") of a group.
        latent_positions: "coordinates" (row and column of the group, any image size) or the tables of the reference
            for a fixed number of groups: "learned", "sincos".
        groups: Groups of every image; only for the fixed tables of `latent_positions`.
        causal: "none"; "groups": the latents of a group don't see later groups; "tokens": in addition tokens don't
            see later tokens of their group, and read only the latents of earlier groups.
        local_attention: False leaves only the feed-forward part of the local layers.
        cross_mlp: A feed-forward layer after each `read` and `write`.
        cross_norm: Normalise what `read`, `condition` and `write` attend to.
        attention_start: How large the projections of attention begin: as in the reference ("reference"), or so that
            what comes out varies as much as what goes in ("unit"), see `initialization.py`.
    """

    plan: str
    tokens: int
    latents: int
    token_width: int
    latent_width: int
    token_heads: int
    latent_heads: int
    mlp_ratio: int = 4
    token_positions: TokenPositionKind = "sincos2d"
    latent_positions: LatentPositionKind = "coordinates"
    groups: int | None = None
    causal: Causality = "none"
    local_attention: bool = True
    cross_mlp: bool = False
    cross_norm: bool = True
    attention_start: Literal["reference", "unit"] = "reference"

    def __post_init__(self) -> None:
        parse_plan(self.plan)
        for name in ("tokens", "latents", "token_width", "latent_width", "token_heads", "latent_heads", "mlp_ratio"):
            check_positive(name, getattr(self, name))
        for side in ("token", "latent"):
            width, heads = getattr(self, f"{side}_width"), getattr(self, f"{side}_heads")
            if heads > width:
                raise ConfigError(f"{side}_heads {heads} exceeds {side}_width {width}")
        check_one_of("causal", self.causal, ("none", "groups", "tokens"))
        check_one_of("attention_start", self.attention_start, ("reference", "unit"))
        self._check_positions()

    def _check_positions(self) -> None:
        check_one_of("token_positions", self.token_positions, ("learned", "sincos", "sincos2d"))
        check_one_of("latent_positions", self.latent_positions, ("learned", "sincos", "coordinates"))
        if self.token_positions == "sincos2d":
            if math.isqrt(self.tokens) ** 2 != self.tokens:
                raise ConfigError(f"token_positions 'sincos2d' needs a square group, not {self.tokens} tokens")
            check_even("token_width", self.token_width, "two-dimensional position codes")
        if self.latent_positions == "coordinates":
            check_even("latent_width", self.latent_width, "two-dimensional position codes")
        else:
            if self.groups is None:
                raise ConfigError(f"latent_positions {self.latent_positions!r} needs a fixed number of groups")
            check_positive("groups", self.groups)
            if self.latent_positions == "sincos" and self.groups > 1 and self.latents > 1:
                check_even("latent_width", self.latent_width, "two-dimensional position codes")

    @property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """(local layers, global layers) of each segment."""
        return parse_plan(self.plan)

    @property
    def cross_heads(self) -> int:
        """Heads of `read` and `write`: the smaller of both sides."""
        return min(self.token_heads, self.latent_heads)

    @property
    def cross_head_width(self) -> int:
        """Width of a head of `read` and `write`."""
        return min(self.token_width, self.latent_width) // self.cross_heads

    @property
    def group(self) -> int:
        """Patches per side of a square group."""
        side = math.isqrt(self.tokens)
        if side * side != self.tokens:
            raise ConfigError(f"{self.tokens} tokens per group are no square of patches")
        return side

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild a config from what `to_dict` returns, before or after a trip through JSON.

        Raises:
            ConfigError: An unknown or missing name, a value of the wrong type, or a model that cannot exist.
        """
        known = {JSON_KEYS.get(field.name, field.name): field for field in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(f"unknown settings of {cls.__name__}: {', '.join(unknown)}")
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        for key, value in values.items():
            check_type(key, value, str(known[key].type))
        try:
            return cls(**{known[key].name: value for key, value in values.items()})
        except TypeError as error:
            raise ConfigError(f"{cls.__name__}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data under the keys of `config.json`."""
        return {JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig(TrunkConfig):
    """A FIT encoder of image patches.

    Attributes:
        patch: Pixels per side of a patch.
        channels: Values per pixel.
        stem: "linear" (the reference); "conv": two stride-2 convolutions within the patch; "overlap": stride-2
            convolutions over the whole group, down to one place per patch.
        side_values: Width of the optional extra tokens per group of the reference (its input y); None without.
    """

    patch: int
    channels: int
    stem: Literal["linear", "conv", "overlap"] = "linear"
    side_values: int | None = None

    def __post_init__(self) -> None:
        # Zero-argument super() does not find the class that slots=True recreates.
        TrunkConfig.__post_init__(self)
        check_positive("patch", self.patch)
        check_positive("channels", self.channels)
        check_one_of("stem", self.stem, ("linear", "conv", "overlap"))
        if self.stem == "overlap" and (self.patch < 2 or self.patch & (self.patch - 1)):
            raise ConfigError(f"an overlapping stem halves a patch down to one place; {self.patch} is no power of 2")
        if self.stem == "conv" and self.patch % 4:
            raise ConfigError(f"a convolutional stem halves a patch twice; {self.patch} is no multiple of 4")
        if self.side_values is not None:
            check_positive("side_values", self.side_values)
        if self.causal == "tokens":
            raise ConfigError("an encoder has no order of tokens; causal is 'none' or 'groups'")

    @property
    def values(self) -> int:
        """Values per patch, p."""
        return self.patch**2 * self.channels

    @property
    def conv_widths(self) -> tuple[int, int]:
        """Channels after the first and the second convolution of a convolutional stem."""
        return max(self.token_width // 4, 8), max(self.token_width // 2, 8)

    @property
    def overlap_widths(self) -> tuple[int, ...]:
        """Channels after each convolution of an overlapping stem: twice as many each time, up to the token width."""
        count = self.patch.bit_length() - 1
        return tuple(max(self.token_width >> (count - 1 - number), 8) for number in range(count))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierConfig(EncoderConfig):
    """An encoder and a head that pools its latents.

    Attributes:
        classes: Number of classes of all targets together, k.
        pool_heads: Independent sets of pooling weights, each for its own part of the latents.
        targets: Number of classes of each target, if there are several; empty for one target with all classes.
    """

    classes: int
    pool_heads: int = 1
    targets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_positive("classes", self.classes)
        check_positive("pool_heads", self.pool_heads)
        for count in self.targets:
            check_positive("classes of a target", count)
        if self.targets and sum(self.targets) != self.classes:
            raise ConfigError(f"targets of {' + '.join(map(str, self.targets))} classes are not {self.classes} in all")
        if self.latent_width % self.pool_heads:
            raise ConfigError(f"pool_heads {self.pool_heads} does not divide latent_width {self.latent_width}")
        if self.segments[-1][1] == 0:
            raise ConfigError(f"a classifier pools latents: plan {self.plan!r} must end with global layers")

    @property
    def target_classes(self) -> tuple[int, ...]:
        """Number of classes of each target; there is at least one target."""
        return self.targets or (self.classes,)


@dataclass(frozen=True, kw_only=True, slots=True)
class DenoiserConfig(TrunkConfig):
    """A FIT diffusion decoder.

    Attributes:
        values: Values per patch of the noisy input, p.
        out_values: Values per patch of the prediction.
        condition_width: Width of the conditioning tokens that are projected to `latent_width`; None where they come
            with the width of the time token, 4 * (latent_width // 4), and are used as they are.
        time_features: Extra values per image that accompany the noise level.
        self_condition: Start from the latents of an earlier prediction (RIN, section 3.3).
    """

    values: int
    out_values: int
    condition_width: int | None
    time_features: int = 0
    self_condition: bool = False

    def __post_init__(self) -> None:
        TrunkConfig.__post_init__(self)
        check_positive("values", self.values)
        check_positive("out_values", self.out_values)
        if self.time_features < 0:
            raise ConfigError(f"time_features must not be negative, not {self.time_features}")
        if self.causal == "tokens":
            raise ConfigError("a denoiser has no order of tokens; causal is 'none' or 'groups'")
        if self.latent_width < 8:
            raise ConfigError(
                f"latent_width {self.latent_width}: the noise level needs a code of two values, 8 or more"
            )
        if self.condition_width is not None:
            check_positive("condition_width", self.condition_width)
            if self.latent_width % 4:
                raise ConfigError(
                    f"latent_width {self.latent_width} must be a multiple of 4 to join time and condition"
                )

    @property
    def time_width(self) -> int:
        """Width of the time token and so of the context."""
        return 4 * (self.latent_width // 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig(TrunkConfig):
    """A FIT autoregressive decoder.

    Attributes:
        vocabulary: Number of different token values.
        shared_embedding: Predict with the transposed input embedding.
        output_bias: Add a learned bias to the logits.
        starts: Ids beyond the vocabulary that are seen and never predicted, to begin a sequence with: none as in the
            reference, one, or one per class.
        classes: Number of classes that a sequence can be conditioned on, k; 0 for none.
    """

    vocabulary: int
    shared_embedding: bool = True
    output_bias: bool = True
    starts: int = 0
    classes: int = 0

    def __post_init__(self) -> None:
        TrunkConfig.__post_init__(self)
        check_positive("vocabulary", self.vocabulary)
        if self.causal != "tokens":
            raise ConfigError(f"a decoder is causal in its tokens, not {self.causal!r}")
        if self.classes < 0:
            raise ConfigError(f"classes must not be negative, not {self.classes}")
        if self.starts not in (0, 1, self.classes):
            raise ConfigError(f"starts must be 0, 1 or one for each of {self.classes} classes, not {self.starts}")
