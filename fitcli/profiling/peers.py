"""Estimates a training step of a plain ViT and of a Swin transformer on the same image, for comparison.

Both use flash attention, which keeps no scores. So a ViT has linear memory, too; it needs more operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast, get_args

from fitcli.errors import FitError
from fitcli.memory.estimate import Estimate, Training, parameter_count, reserve_bytes
from fitcli.memory.paper.layers import Layer, Parts
from fitcli.memory.paper.ledger import Ledger, Value, backward
from fitcli.memory.paper.operations import FLOAT, Operations
from models.config import EncoderConfig, TrunkConfig

Peer = Literal["vit", "swin"]

HEAD_WIDTH = 64
"""Width of the heads of a ViT."""

SWIN_WIDTH, SWIN_DEPTHS, SWIN_PATCH, SWIN_WINDOW, SWIN_HEAD = 96, (2, 2, 6, 2), 4, 8, 32
"""Swin-T (Liu et al. 2021, arXiv:2103.14030, section 3.3), but with windows of 8 x 8 patches instead of 7 x 7."""


def parse_peers(text: str | None, task: str, config: TrunkConfig) -> list[Peer]:
    """Parse the names of peers, separated by commas.

    Raises:
        FitError: A name is unknown, or the model of the task is no encoder, as the peers are.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in get_args(Peer)]:
        raise FitError(f"--compare takes {' and '.join(get_args(Peer))}, not {unknown[0]!r}; correct the name")
    if names and not isinstance(config, EncoderConfig):
        raise FitError(f"--compare is for encoders, not for {task}; leave it out")
    return cast(list[Peer], names)


def vit_sizes(work: Training) -> tuple[int, int]:
    """Return (width, layers) of a ViT that is as wide as the latents and has about as many parameters."""
    width = work.config.latent_width
    return width, max(1, round(parameter_count(work.config) / (12 * width**2)))


def estimate_peer(peer: Peer, work: Training, side: int, checkpointed: bool = False) -> Estimate:
    """Estimate a training step of a peer over square images.

    Args:
        peer: Name of the peer.
        work: The step that it is compared with, which determines batch, precision, device and width.
        side: Side of the image in pixels.
        checkpointed: Whether every layer is recomputed in the backward pass.
    """
    config = work.config
    assert isinstance(config, EncoderConfig)
    ledger = Ledger()
    run = Operations(ledger=ledger, low=2 if work.precision == "bf16" else FLOAT, cached=not checkpointed)
    parts = Parts(config, run, work.images)
    layer: Layer = "checkpoint" if checkpointed else "direct"
    pixels = ledger.take("pixels", work.images * side**2 * config.channels)
    weights = {"vit": _vit, "swin": _swin}[peer](parts, work, side, layer)
    del pixels
    held = {"parameters": FLOAT * weights, "optimizer": 2 * FLOAT * weights, **ledger.at_peak}
    return Estimate(parts=held, reserve_bytes=reserve_bytes(work.device, held), away_bytes=0, flops=dict(run.flops))


def _vit(parts: Parts, work: Training, side: int, layer: Layer) -> int:
    config, run = work.config, parts.run
    assert isinstance(config, EncoderConfig)
    width, depth = vit_sizes(work)
    patches = (side // config.patch) ** 2
    rows = work.images * patches
    x = _patch_embedding(run, rows, config.values, width)
    for number in range(depth):
        x = parts.call(layer, _layer(parts, rows, patches, width, width // HEAD_WIDTH, f"{number}"), x)
    _learn(run, x, rows, width)
    return config.values * width + depth * _layer_weights(width)


def _swin(parts: Parts, work: Training, side: int, layer: Layer) -> int:
    config, run = work.config, parts.run
    assert isinstance(config, EncoderConfig)
    width, values = SWIN_WIDTH, SWIN_PATCH**2 * config.channels
    rows = work.images * (side // SWIN_PATCH) ** 2
    x = _patch_embedding(run, rows, values, width)
    weights = values * width
    for stage, depth in enumerate(SWIN_DEPTHS):
        if stage:
            # Patch merging: four neighbours are joined, and a product halves the number of their values.
            rows //= 4
            merged = run.norm(run.copied(x), rows, 4 * width, f"{stage}.merge.norm")
            x = run.linear(merged, rows, 4 * width, 2 * width, f"{stage}.merge")
            weights, width = weights + 8 * width**2, 2 * width
            del merged
        heads = width // SWIN_HEAD
        for number in range(depth):
            x = parts.call(layer, _window_layer(parts, rows, width, heads, f"{stage}.{number}"), x)
            weights += _layer_weights(width)
    _learn(run, x, rows, width)
    return weights


def _layer(parts: Parts, rows: int, keys: int, width: int, heads: int, name: str) -> Callable[[Value], Value]:
    return lambda x: parts.self_attention(x, rows, keys, width, heads, name)


def _window_layer(parts: Parts, rows: int, width: int, heads: int, name: str) -> Callable[[Value], Value]:
    """Return a layer that copies patches into windows and back; in every second layer the copies also roll them."""

    def run(x: Value) -> Value:
        windows = parts.run.copied(x)
        attended = parts.self_attention(windows, rows, SWIN_WINDOW**2, width, heads, name)
        del windows
        return parts.run.copied(attended)

    return run


def _layer_weights(width: int) -> int:
    return 12 * width**2 + 13 * width


def _patch_embedding(run: Operations, rows: int, values: int, width: int) -> Value:
    run.place = "stem"
    with run.labelled("image"):
        pixels = Value(run.make(FLOAT * rows * values))
    tokens = run.linear(pixels, rows, values, width, "stem")
    del pixels
    run.place = "local"
    return run.shifted(tokens, FLOAT * rows * width)


def _learn(run: Operations, x: Value, rows: int, width: int) -> None:
    """Run a loss, which is the mean of the normalised tokens, and its backward pass."""
    loss = run.total(run.norm(x, rows, width, "norm"))
    del x
    backward([(loss, run.make(FLOAT))])
