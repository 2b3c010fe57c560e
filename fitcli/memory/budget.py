"""Plans a streamed pass within a memory budget: groups at a time, and the store for tokens. Arithmetic only.

Every part of the sum has a name, so that an error can say what the memory is needed for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fitcli.errors import FitError
from fitcli.streaming.token_store import StoreKind
from models.config import EncoderConfig, TrunkConfig
from models.piecewise_latents import PIECE

HANDFUL_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 16384}
"""Most tokens of a handful, by kind of device: enough to keep it busy; on a CPU, few enough for its caches."""

READ_AHEAD = 4
"""Handfuls of pixels in memory: one is computed, one is read, two are queued."""

OVERHEAD = {"cpu": 96 << 20, "cuda": 512 << 20, "mps": 256 << 20}
"""Bytes for libraries, threads, workspaces of kernels and memory that allocators keep, by kind of device."""

SLACK = 1.15
"""Bytes that allocators take for every byte that is requested."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A streamed pass over an image, whose memory is planned.

    Attributes:
        config: Config of the model.
        groups: Number of groups of the image.
        weights_bytes: Size of the weights.
        value_bytes: Bytes per value of a patch as it is read.
        values: Values per patch.
        reader_bytes: Size of the decoded chunks that the reader caches.
        finish_bytes: Memory for the work after the pass, such as a heat map.
        keep_reads: Whether the weights of the last `read` are kept, for a heat map.
        keep_state: Whether everything is stored on disk, so that another process can continue.
        canvas_bytes: Size of the canvases that are kept on the device that computes.
        output_values: Values per patch of a prediction that is processed on the device; 0 without predictions.
    """

    config: TrunkConfig
    groups: int
    weights_bytes: int
    value_bytes: int
    values: int
    reader_bytes: int = 0
    finish_bytes: int = 0
    keep_reads: bool = False
    keep_state: bool = False
    canvas_bytes: int = 0
    output_values: int = 0

    @property
    def tokens_bytes(self) -> int:
        """Size of all stored tokens; 0 if the model needs one sweep only, which stores none."""
        if len(self.config.segments) < 2:
            return 0
        return 4 * self.groups * self.config.tokens * self.config.token_width

    @property
    def reads_bytes(self) -> int:
        """Size of the weights that are kept of the last `read`."""
        return 4 * self.groups * self.config.latents * self.config.tokens if self.keep_reads else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPlan:
    """How to run a pass within a budget.

    Attributes:
        budget_bytes: Memory that the pass may use.
        handful: Number of groups that are computed together.
        store: Store for tokens.
        reads_store: Store for the weights of the last `read`.
        parts: Bytes on the device that computes, by purpose, in the phase that takes the most.
    """

    budget_bytes: int
    handful: int
    store: StoreKind
    reads_store: StoreKind
    parts: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, int | str]:
        """Return the plan as JSON data."""
        return {"budget_bytes": self.budget_bytes, "store": self.store, "handful_groups": self.handful}

    def summary(self) -> str:
        """Return the plan as one line of text."""
        where = {"device": "on the device", "host": "in memory", "disk": "on disk"}[self.store]
        return (
            f"memory: {size_text(self.budget_bytes)} allowed, about {size_text(sum(self.parts.values()))} used; "
            f"{self.handful} groups at a time, tokens rest {where}"
        )


def plan_memory(work: Work, device: str, budget_bytes: int, host_bytes: int | None = None) -> MemoryPlan:
    """Choose the fastest way to run a pass that stays within a budget.

    Args:
        work: The pass.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
        budget_bytes: Memory that it may use there; on a CPU, all that the process takes beyond Python with torch.
        host_bytes: Memory that it may use on the host beside a device; None without a limit.

    Raises:
        FitError: Even one group at a time takes more. The message says how much.
    """
    most = max(1, min(HANDFUL_TOKENS[device] // work.config.tokens, work.groups))
    for store, reads in _stores(work, device, host_bytes):
        room = budget_bytes - sum(pass_parts(work, device, 0, store, reads).values())
        handful = min(most, int(room // _group_bytes(work, device)))
        # Halving the handful costs less time than storing tokens on disk.
        if handful >= max(1, most // 2) or ((store, reads) == ("disk", "disk") and handful >= 1):
            parts = pass_parts(work, device, handful, store, reads)
            return MemoryPlan(budget_bytes=budget_bytes, handful=handful, store=store, reads_store=reads, parts=parts)
    floor = pass_parts(work, device, 1, "disk", "disk")
    largest = ", ".join(f"{name} {size_text(size)}" for name, size in sorted(floor.items(), key=lambda p: -p[1])[:3])
    raise FitError(
        f"{work.groups} groups need at least {size_text(sum(floor.values()))} of memory ({largest}), "
        f"but only {size_text(budget_bytes)} are allowed; give more with --memory, or use a model with larger groups"
    )


def _stores(work: Work, device: str, host_bytes: int | None) -> Iterator[tuple[StoreKind, StoreKind]]:
    """Yield the possible stores for tokens and for reads, the fastest first."""
    if not work.keep_state:
        if device == "cpu":
            yield "host", "host"
        else:
            yield "device", "host"
            if host_bytes is None or work.tokens_bytes + work.reads_bytes <= host_bytes:
                yield "host", "host"
        yield "disk", "host"
    yield "disk", "disk"


def pass_parts(work: Work, device: str, handful: int, store: StoreKind, reads: StoreKind) -> dict[str, int]:
    """Return the bytes on the device that computes, by purpose, in the phase that takes the most."""
    parts = {
        "weights": work.weights_bytes,
        "latents": _latent_bytes(work.config, work.groups),
        "groups at a time": int(handful * _group_bytes(work, device)),
        "tokens at rest": work.tokens_bytes if store == ("host" if device == "cpu" else "device") else 0,
        "reads for the heat map": work.reads_bytes if device == "cpu" and reads == "host" else 0,
        "image reader": work.reader_bytes if device == "cpu" else 0,
        "canvas": work.canvas_bytes,
        "overhead": OVERHEAD[device],
    }
    if device != "cpu":
        return parts
    # The heat map comes after the tokens are freed. Weights exist twice while they are loaded, before anything else.
    later = work.finish_bytes - parts["groups at a time"] - parts["tokens at rest"]
    earlier = work.weights_bytes + parts["weights"] + parts["overhead"] - sum(parts.values())
    return parts | {"heat map or loading": max(0, later, earlier)}


def _latent_bytes(config: TrunkConfig, groups: int) -> int:
    """Return the size of all latents with the workspace of the sweeps or of `mix`, whichever is larger."""
    count = groups * config.latents
    latents = 4 * count * config.latent_width
    sweep = latents * (3 if config.causal == "tokens" else 2)
    workspace = 4 * min(count, PIECE) * config.latent_width * (4 + 2 * config.mlp_ratio)
    kept = latents * (3 if count > PIECE else 1)
    masks = count**2 if config.causal != "none" else 0
    return max(sweep, kept + workspace + masks)


def _group_bytes(work: Work, device: str) -> float:
    """Return the memory per group that is computed, with its pixels and those that are read ahead."""
    config, pixel_bytes = work.config, work.values * work.value_bytes
    layer = 4 * config.token_width * max(6, 3 + 2 * config.mlp_ratio)
    read_ahead = READ_AHEAD * pixel_bytes if device == "cpu" else pixel_bytes
    # 8 values per output value: prediction, noisy patches, data, noise, and inputs and results of the sampler.
    output = 4 * (8 * work.output_values + 2 * config.token_width) if work.output_values else 0
    return SLACK * config.tokens * (max(layer, _stem_bytes(work), output) + read_ahead)


def _stem_bytes(work: Work) -> int:
    """Return the memory of the stem per patch."""
    config = work.config
    values = 4 * 3 * work.values
    if not isinstance(config, EncoderConfig) or config.stem == "linear":
        return values + 4 * 3 * config.token_width
    hidden = max(config.token_width // 4, 8)
    # 3 copies after the first convolution: its result, the GELU of it, and one in the layout of the kernel.
    return values + 4 * 3 * hidden * (config.patch // 2) ** 2


def size_text(size_bytes: float) -> str:
    """Return a size as text, rounded up: a budget of the size that a message names is enough."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= scale or unit == "MiB":
            hundredths = -(-int(size_bytes) * 100 // scale)
            return f"{hundredths / 100:.2f} {unit}" if unit == "GiB" else f"{-(-int(size_bytes) // scale)} MiB"
    raise AssertionError
