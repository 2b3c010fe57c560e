"""From a number of bytes to how a streamed pass is run: groups at a time, and where tokens rest. Arithmetic only.

Every part of the sum has a name, so that a refusal can say what the memory would be needed for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fitcli.errors import FitError
from fitcli.streaming.token_store import StoreKind
from models.config import EncoderConfig, TrunkConfig
from models.piecewise_latents import PIECE

HANDFUL_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 16384}
"""Tokens computed together at most, by kind of device: enough to keep it busy; on a CPU few enough for its caches."""

READ_AHEAD = 4
"""Handfuls of pixels in memory: two that wait, one being read, one being computed."""

OVERHEAD = {"cpu": 96 << 20, "cuda": 512 << 20, "mps": 256 << 20}
"""Libraries, threads, workspaces of kernels and what allocators keep back."""

SLACK = 1.15
"""Allocators hand out more than is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is to be computed.

    Attributes:
        config: Of the model.
        groups: Of the image.
        weights_bytes: Of the model.
        value_bytes: Bytes per value of a patch as it is read.
        values: Per patch.
        reader_bytes: Decoded chunks that the reader keeps.
        finish_bytes: For what follows the pass, such as a heat map.
        keep_reads: What each latent read of each token is kept, for a heat map.
        keep_state: Everything at rest is on disk, to go on after the end of the process.
        canvas_bytes: Of canvases that rest where it computes.
        output_values: Values per patch of predictions that are worked on where they come out; 0 where none are.
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
        """Of all tokens at rest; none where one sweep does."""
        if len(self.config.segments) < 2:
            return 0
        return 4 * self.groups * self.config.tokens * self.config.token_width

    @property
    def reads_bytes(self) -> int:
        """Of what is kept of the last `read`."""
        return 4 * self.groups * self.config.latents * self.config.tokens if self.keep_reads else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryPlan:
    """How a pass is run within a budget.

    Attributes:
        budget_bytes: What was allowed.
        handful: Groups computed together.
        store: Where tokens rest.
        reads_store: Where rests what is kept of the last `read`.
        parts: Bytes on the device that computes, by what they are for. The largest phase counts, not the sum.
    """

    budget_bytes: int
    handful: int
    store: StoreKind
    reads_store: StoreKind
    parts: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, int | str]:
        """For JSON."""
        return {"budget_bytes": self.budget_bytes, "store": self.store, "handful_groups": self.handful}

    def summary(self) -> str:
        """One line for a person."""
        where = {"device": "on the device", "host": "in memory", "disk": "on disk"}[self.store]
        return (
            f"memory: {size_text(self.budget_bytes)} allowed, about {size_text(sum(self.parts.values()))} used; "
            f"{self.handful} groups at a time, tokens rest {where}"
        )


def plan_memory(work: Work, device: str, budget_bytes: int, host_bytes: int | None = None) -> MemoryPlan:
    """Choose the fastest way that stays within a budget.

    Args:
        work: To be done.
        device: Kind of the device that computes: "cpu", "cuda" or "mps".
        budget_bytes: Allowed there: on a CPU all that this process takes beyond the interpreter with torch.
        host_bytes: Allowed in the memory of the host, where that is another.

    Raises:
        FitError: Even one group at a time takes more; says how much.
    """
    most = max(1, min(HANDFUL_TOKENS[device] // work.config.tokens, work.groups))
    for store, reads in _places(work, device, host_bytes):
        room = budget_bytes - sum(pass_parts(work, device, 0, store, reads).values())
        handful = min(most, int(room // _group_bytes(work, device)))
        # Fewer groups at a time cost little; tokens on disk cost more than half a handful.
        if handful >= max(1, most // 2) or ((store, reads) == ("disk", "disk") and handful >= 1):
            parts = pass_parts(work, device, handful, store, reads)
            return MemoryPlan(budget_bytes=budget_bytes, handful=handful, store=store, reads_store=reads, parts=parts)
    floor = pass_parts(work, device, 1, "disk", "disk")
    largest = ", ".join(f"{name} {size_text(size)}" for name, size in sorted(floor.items(), key=lambda p: -p[1])[:3])
    raise FitError(
        f"{work.groups} groups need at least {size_text(sum(floor.values()))} of memory ({largest}), "
        f"{size_text(budget_bytes)} are allowed; give more with --memory, or use a model with larger groups"
    )


def _places(work: Work, device: str, host_bytes: int | None) -> Iterator[tuple[StoreKind, StoreKind]]:
    """Where tokens and reads could rest, fastest first."""
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
    """Bytes by what they are for, on the device that computes, at the worst moment."""
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
    # When the heat map is made, the tokens are gone; when the weights are loaded, twice, nothing else is there yet.
    later = work.finish_bytes - parts["groups at a time"] - parts["tokens at rest"]
    earlier = work.weights_bytes + parts["weights"] + parts["overhead"] - sum(parts.values())
    return parts | {"heat map or loading": max(0, later, earlier)}


def _latent_bytes(config: TrunkConfig, groups: int) -> int:
    """Latents of the whole image with the workspace of the sweeps or of `mix`, whichever is more."""
    count = groups * config.latents
    latents = 4 * count * config.latent_width
    sweep = latents * (3 if config.causal == "tokens" else 2)
    workspace = 4 * min(count, PIECE) * config.latent_width * (4 + 2 * config.mlp_ratio)
    kept = latents * (3 if count > PIECE else 1)
    masks = count**2 if config.causal != "none" else 0
    return max(sweep, kept + workspace + masks)


def _group_bytes(work: Work, device: str) -> float:
    """Of one group being computed, its pixels and those of the groups read early."""
    config, pixel_bytes = work.config, work.values * work.value_bytes
    layer = 4 * config.token_width * max(6, 3 + 2 * config.mlp_ratio)
    read_ahead = READ_AHEAD * pixel_bytes if device == "cpu" else pixel_bytes
    # A prediction with the noisy patches, data and noise, the sampler's results and what they are made of.
    output = 4 * (8 * work.output_values + 2 * config.token_width) if work.output_values else 0
    return SLACK * config.tokens * (max(layer, _stem_bytes(work), output) + read_ahead)


def _stem_bytes(work: Work) -> int:
    """Of one patch on its way to a token."""
    config = work.config
    values = 4 * 3 * work.values
    if not isinstance(config, EncoderConfig) or config.stem == "linear":
        return values + 4 * 3 * config.token_width
    hidden = max(config.token_width // 4, 8)
    # First convolution: its result, gelu of it, and a copy in the layout of the kernel.
    return values + 4 * 3 * hidden * (config.patch // 2) ** 2


def size_text(size_bytes: float) -> str:
    """Bytes for people, rounded up: what is said to be enough is enough."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= scale or unit == "MiB":
            hundredths = -(-int(size_bytes) * 100 // scale)
            return f"{hundredths / 100:.2f} {unit}" if unit == "GiB" else f"{-(-int(size_bytes) // scale)} MiB"
    raise AssertionError
