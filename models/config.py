"""Describe a model as validated data: its sizes and switches. Standard library only."""

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
"""Keys of the JSON form that differ from the names of their fields: the runs of earlier versions have these keys."""

ATTENTION = "attention"
"""Name of the usual output head of a classifier: the attention pool."""

OMITTED: dict[str, Any] = {"output_patch": None, "output_head": ATTENTION}
"""Settings that the JSON form leaves out when they have this value. Earlier versions did not have them: what is derived
from the JSON form, such as the keys of tables of memory, stays the same."""

OVERLAP_KERNEL = 4
"""Pixels per side of the kernels of an overlapping stem: even like the stride, so that they are centred on a patch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig:
    """The settings that all models share: the interleaving of local and global layers.

    Attributes:
        plan: Layer plan, see `parse_plan`.
        tokens: Tokens per group, n.
        latents: Latents per group, m.
        token_width: Width of a token, c.
        latent_width: Width of a latent, d.
        token_heads: Attention heads of the local layers. A head is token_width // token_heads wide.
        latent_heads: Attention heads of the global layers. A head is latent_width // latent_heads wide.
        mlp_ratio: Hidden width of a feed-forward layer divided by its width.
        token_positions: Position codes of the tokens in a group: a "learned" table, or sinusoidal over the order
            ("sincos") or over the row and column ("sincos2d") of a token.
        latent_positions: Position codes of the latents: "coordinates" (row and column of the group, any image size),
            or a table of the reference for a fixed number of groups ("learned", "sincos").
        groups: Number of groups of every image, for the tables of `latent_positions`; not used by "coordinates".
        causal: "none": no causal mask. "groups": the latents of a group don't see later groups. "tokens":
            like "groups", and tokens don't see later tokens of their group and read only latents of earlier groups.
        local_attention: Whether the local layers have attention; without it they are feed-forward layers.
        cross_mlp: Whether a feed-forward layer follows each `read` and `write`.
        cross_norm: Whether `read`, `condition` and `write` normalise the sequence that they attend to.
        attention_start: Size of the initial weights of attention: as in the reference ("reference"), or such that the
            output has the variance of the input ("unit"), see `initialization.py`.
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
        """Numbers of (local layers, global layers) of each segment."""
        return parse_plan(self.plan)

    @property
    def has_added_part(self) -> bool:
        """Whether a part of the model is the code of others."""
        return False

    @property
    def cross_heads(self) -> int:
        """Attention heads of `read` and `write`: the smaller number of both sides."""
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
            raise ConfigError(f"{self.tokens} tokens per group are not a square of patches; use a square number")
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
        given = [(name, value) for name, value in asdict(self).items() if (name, value) not in OMITTED.items()]
        return {JSON_KEYS.get(name, name): value for name, value in given}


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig(TrunkConfig):
    """A FIT encoder of image patches.

    Attributes:
        patch: Pixels per side of a patch.
        channels: Values per pixel.
        stem: Patches to tokens: "linear" (as in the reference), "conv" (two stride-2 convolutions within a patch) or
            "overlap" (stride-2 convolutions over the whole group, down to one position per patch).
        side_values: Width of the extra tokens per group that the reference calls its input y; None for no such tokens.
    """

    patch: int
    channels: int
    stem: Literal["linear", "conv", "overlap"] = "linear"
    side_values: int | None = None

    def __post_init__(self) -> None:
        # slots=True recreates the class, so that zero-argument super() fails.
        TrunkConfig.__post_init__(self)
        check_positive("patch", self.patch)
        check_positive("channels", self.channels)
        check_one_of("stem", self.stem, ("linear", "conv", "overlap"))
        if self.stem == "overlap" and (self.patch < 2 or self.patch & (self.patch - 1)):
            raise ConfigError(f"an overlapping stem halves a patch to one position; {self.patch} is not a power of 2")
        if self.stem == "conv" and self.patch % 4:
            raise ConfigError(f"a convolutional stem halves a patch twice; {self.patch} is not a multiple of 4")
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
        """Channels after each convolution of an overlapping stem: they double each time, up to the token width."""
        count = self.patch.bit_length() - 1
        return tuple(max(self.token_width >> (count - 1 - number), 8) for number in range(count))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierConfig(EncoderConfig):
    """An encoder and a head that pools its latents.

    Attributes:
        classes: Number of classes of all targets together, k.
        pool_heads: Pooling heads: each has its own weights and pools its own slice of the latents.
        targets: Number of classes of each target, if there are several; empty for one target with all classes.
        output_head: Name of the head in the table of `heads.py`, to which others may add theirs.
    """

    classes: int
    pool_heads: int = 1
    targets: tuple[int, ...] = ()
    output_head: str = ATTENTION

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
    def has_added_part(self) -> bool:
        """Whether a part of the model is the code of others."""
        return self.output_head != ATTENTION

    @property
    def target_classes(self) -> tuple[int, ...]:
        """Number of classes of each target; there is at least one target."""
        return self.targets or (self.classes,)


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseConfig(EncoderConfig):
    """An encoder and a head that maps every token to a square of cells, for answers at every place of an image.

    Attributes:
        outputs: Values per cell, o.
        cells: Cells per side of a patch, q; a cell covers patch / q pixels per side.
    """

    outputs: int
    cells: int

    def __post_init__(self) -> None:
        EncoderConfig.__post_init__(self)
        check_positive("outputs", self.outputs)
        check_positive("cells", self.cells)
        if self.patch % self.cells:
            raise ConfigError(f"cells {self.cells} does not divide patch {self.patch}")
        if self.segments[-1][1] or len(self.segments) == 1:
            raise ConfigError(
                f"cells come from tokens that have read the latents of the whole image: plan {self.plan!r} must end "
                "with local layers after global ones, as in '(2)4(2)'"
            )

    @property
    def cell(self) -> int:
        """Side of a cell in pixels."""
        return self.patch // self.cells


@dataclass(frozen=True, kw_only=True, slots=True)
class DenoiserConfig(TrunkConfig):
    """A FIT denoiser of image patches, for diffusion.

    Attributes:
        values: Values per patch of the input, p: noisy ones, and what else the network sees of the patch.
        out_values: Values per patch of the prediction.
        condition_width: Width of the conditioning tokens, which are projected to `latent_width`; None if they already
            have the width of the time token, 4 * (latent_width // 4), and are used unchanged.
        time_features: Number of extra values per image besides the noise level.
        self_condition: Whether to start from the latents of an earlier prediction (RIN, section 3.3).
        output_patch: Pixels per side of a predicted patch, for an output head whose patches overlap, see
            `output_head.py`; None for a linear head, as in the reference.
    """

    values: int
    out_values: int
    condition_width: int | None
    time_features: int = 0
    self_condition: bool = False
    output_patch: int | None = None

    def __post_init__(self) -> None:
        TrunkConfig.__post_init__(self)
        check_positive("values", self.values)
        check_positive("out_values", self.out_values)
        if self.time_features < 0:
            raise ConfigError(f"time_features must not be negative, not {self.time_features}")
        if self.output_patch is not None:
            self._check_overlap(self.output_patch)
        if self.causal == "tokens":
            raise ConfigError("a denoiser has no order of tokens; causal is 'none' or 'groups'")
        if self.latent_width < 8:
            raise ConfigError(
                f"latent_width {self.latent_width} is too small for the code of the noise level; use 8 or more"
            )
        if self.condition_width is not None:
            check_positive("condition_width", self.condition_width)
            if self.latent_width % 4:
                raise ConfigError(
                    f"latent_width {self.latent_width} must be a multiple of 4 to join time and condition"
                )

    def _check_overlap(self, patch: int) -> None:
        if patch < 2:
            raise ConfigError(f"patches of {patch} pixel per side have no margin to overlap by; use 2 or more")
        if self.out_values % patch**2:
            raise ConfigError(f"out_values {self.out_values} are no patches of {patch} x {patch} pixels")
        if math.isqrt(self.tokens) ** 2 != self.tokens:
            raise ConfigError(f"patches overlap in a square group, not in one of {self.tokens} tokens")

    @property
    def output_margin(self) -> int:
        """Pixels by which a token predicts beyond its patch, on every side: half a patch if patches overlap, or 0."""
        return 0 if self.output_patch is None else self.output_patch // 2

    @property
    def output_width(self) -> int:
        """Values that the output head computes per token: those of its patch and of the margin around it."""
        if self.output_patch is None:
            return self.out_values
        return self.out_values // self.output_patch**2 * (self.output_patch + 2 * self.output_margin) ** 2

    @property
    def time_width(self) -> int:
        """Width of the time token and of all other conditioning tokens."""
        return 4 * (self.latent_width // 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig(TrunkConfig):
    """A FIT autoregressive decoder of token sequences.

    Attributes:
        vocabulary: Number of different token values.
        shared_embedding: Whether the logits use the transposed input embedding.
        output_bias: Whether a learned bias is added to the logits.
        starts: Number of start ids. They follow the vocabulary, begin a sequence and are never predicted: 0 as in the
            reference, 1, or one per class.
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
            raise ConfigError(f"causal must be 'tokens' for a decoder, not {self.causal!r}")
        if self.classes < 0:
            raise ConfigError(f"classes must not be negative, not {self.classes}")
        if self.starts not in (0, 1, self.classes):
            raise ConfigError(f"starts must be 0, 1 or one per class ({self.classes}), not {self.starts}")
