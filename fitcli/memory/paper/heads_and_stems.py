"""Stems and heads on paper: from pixels to tokens, and from tokens or latents to a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fitcli.memory.paper.layers import Parts
from fitcli.memory.paper.ledger import Value
from fitcli.memory.paper.operations import FLOAT, Operations
from models.config import OVERLAP_KERNEL, ClassifierConfig, DecoderConfig, DenoiserConfig, EncoderConfig, TrunkConfig


class Ends(Protocol):
    """Stem and head of a model."""

    @property
    def patch_bytes(self) -> int:
        """Bytes of the values of a patch in a batch, before the stem."""

    @property
    def context(self) -> int:
        """Tokens per image that latents attend to."""

    def embed(self, groups: int) -> Value:
        """Compute tokens [g n c] from a batch."""

    def begin(self, latents: Value, parts: Parts) -> Value:
        """Compute the latents that enter the first segment from the initial ones."""

    def loss_from_tokens(self, tokens: Value, groups: int) -> Value | None:
        """Compute losses from tokens; None if no loss depends on them."""

    def loss_from_latents(self, latents: Value, groups: int) -> Value | None:
        """Compute a loss from all latents; None if no loss depends on them."""


@dataclass(frozen=True)
class ClassifierEnds:
    """Stem and head of a classifier: the input is bytes, latents are pooled."""

    config: ClassifierConfig
    run: Operations
    context: int = 0

    @property
    def patch_bytes(self) -> int:
        return self.config.values

    def embed(self, groups: int) -> Value:
        rows = groups * self.config.tokens
        self.run.place = "stem"
        if self.config.stem == "conv":
            tokens = _convolutions(self.config, self.run, rows)
        elif self.config.stem == "overlap":
            tokens = _overlapping(self.config, self.run, rows)
        else:
            pixels = _normalized(self.run, rows * self.config.values)
            tokens = _linear_stem(self.config, self.config.values, self.run, pixels, rows)
            del pixels
        return self.run.shifted(tokens, FLOAT * rows * self.config.token_width)

    def begin(self, latents: Value, parts: Parts) -> Value:
        return latents

    def loss_from_tokens(self, tokens: Value, groups: int) -> None:
        return None

    def loss_from_latents(self, latents: Value, groups: int) -> Value:
        run, width, rows = self.run, self.config.latent_width, groups * self.config.latents
        targets = len(self.config.target_classes)
        run.place = "head"
        with run.labelled("latents"):
            normed = run.norm(latents, rows, width, "latent_norm")
            signal = run.pointwise(run.linear(normed, rows, width, width, "head.signal"), keeps_result=True)
            gate = run.pointwise(run.linear(normed, rows, width, width, "head.gate"), keeps_result=True)
            gated = run.product(signal, gate, run.low * rows * width)
            del signal, gate
            scores = run.linear(gated, rows, width, targets * self.config.pool_heads, "head.score")
            values = run.linear(normed, rows, width, width, "head.value")
            del normed, gated
            return run.product(scores, values, FLOAT * targets * width)


@dataclass(frozen=True)
class DenoiserEnds:
    """Stem and head of a denoiser: the input is bytes with noise, and the loss compares the prediction."""

    config: DenoiserConfig
    run: Operations

    @property
    def patch_bytes(self) -> int:
        return self.config.values

    @property
    def context(self) -> int:
        return 1 if self.config.condition_width is None else 2

    def embed(self, groups: int) -> Value:
        rows = groups * self.config.tokens
        self.run.place = "stem"
        noisy = _normalized(self.run, rows * self.config.values)
        tokens = _linear_stem(self.config, self.config.values, self.run, noisy, rows)
        del noisy
        return self.run.shifted(tokens, FLOAT * rows * self.config.token_width)

    def begin(self, latents: Value, parts: Parts) -> Value:
        if not self.config.self_condition:
            return latents
        run, width = self.run, self.config.latent_width
        rows = latents.size // (FLOAT * width)
        run.place = "stem"
        previous = Value(run.make(latents.size))
        made = run.norm(parts.feed_forward(previous, rows, width, "self_condition"), rows, width, "self_condition.norm")
        return run.add(latents, made)

    def loss_from_tokens(self, tokens: Value, groups: int) -> Value:
        run, config, rows = self.run, self.config, groups * self.config.tokens
        run.place = "head"
        normed = run.norm(tokens, rows, config.token_width, "token_norm")
        prediction = run.linear(normed, rows, config.token_width, config.out_values, "out")
        del normed
        error = run.shifted(prediction, FLOAT * rows * config.out_values)
        del prediction
        return run.total(run.pointwise(error))

    def loss_from_latents(self, latents: Value, groups: int) -> None:
        return None


@dataclass(frozen=True)
class DecoderEnds:
    """Stem and head of a decoder: the input is levels, and the next level is predicted."""

    config: DecoderConfig
    run: Operations

    @property
    def context(self) -> int:
        return 1 if self.config.classes else 0

    @property
    def patch_bytes(self) -> int:
        # Two int64: a level and the one before it.
        return 16

    def embed(self, groups: int) -> Value:
        rows, width = groups * self.config.tokens, self.config.token_width
        self.run.place = "stem"
        looked_up = self.run.table(
            FLOAT * rows * width, (self.config.vocabulary + self.config.starts) * width, "embedding"
        )
        return self.run.shifted(looked_up, FLOAT * rows * width)

    def begin(self, latents: Value, parts: Parts) -> Value:
        return latents

    def loss_from_tokens(self, tokens: Value, groups: int) -> Value:
        run, config, rows = self.run, self.config, groups * self.config.tokens
        run.place = "head"
        normed = run.norm(tokens, rows, config.token_width, "token_norm")
        logits = run.linear(normed, rows, config.token_width, config.vocabulary, "embedding")
        del normed
        if config.output_bias:
            logits = run.shifted(logits, logits.size)
        if run.low < FLOAT:
            # log_softmax is in float32.
            logits = run.shifted(logits, FLOAT * rows * config.vocabulary)
        return run.total(run.pointwise(logits, keeps_result=True))

    def loss_from_latents(self, latents: Value, groups: int) -> None:
        return None


def ends_of(config: TrunkConfig, run: Operations) -> Ends:
    """Return stem and head of the model of a config.

    Raises:
        TypeError: The config is that of a bare encoder, which has no loss.
    """
    match config:
        case ClassifierConfig():
            return ClassifierEnds(config, run)
        case DenoiserConfig():
            return DenoiserEnds(config, run)
        case DecoderConfig():
            return DecoderEnds(config, run)
    raise TypeError(f"{type(config).__name__} has no training step")


def _normalized(run: Operations, values: int) -> Value:
    """Convert bytes to floats. Of the results of several operations, two exist at a time."""
    with run.labelled("image"):
        before = run.make(FLOAT * values)
        result = Value(run.make(FLOAT * values))
        del before
    return result


def _linear_stem(config: TrunkConfig, values: int, run: Operations, pixels: Value, rows: int) -> Value:
    projected = run.linear(pixels, rows, values, config.token_width, "stem.project")
    return run.norm(projected, rows, config.token_width, "stem.norm")


def _convolutions(config: EncoderConfig, run: Operations, rows: int) -> Value:
    first, second = config.conv_widths
    halves, quarters = (config.patch // 2) ** 2, (config.patch // 4) ** 2
    x = _normalized(run, rows * config.values)
    x = run.pointwise(run.linear(x, rows * halves, 4 * config.channels, first, "stem.first"))
    # Joining four neighbours copies them.
    x = run.copied(x)
    x = run.pointwise(run.linear(x, rows * quarters, 4 * first, second, "stem.second"))
    x = run.copied(x)
    x = run.linear(x, rows, quarters * second, config.token_width, "stem.project")
    return run.shifted(x, FLOAT * rows * config.token_width) if run.low < FLOAT else x


def _overlapping(config: EncoderConfig, run: Operations, rows: int) -> Value:
    places, channels = rows * config.patch**2, config.channels
    x = run.copied(_normalized(run, rows * config.values))
    for number, width in enumerate(config.overlap_widths):
        values, places = places * channels, places // 4
        x = run.pointwise(run.linear(x, places, OVERLAP_KERNEL**2 * channels, width, f"stem.layers.{number}", values))
        channels = width
    # The copy makes the channel the last axis.
    x = run.copied(x)
    x = run.linear(x, rows, channels, config.token_width, "stem.project")
    return run.shifted(x, FLOAT * rows * config.token_width) if run.low < FLOAT else x
