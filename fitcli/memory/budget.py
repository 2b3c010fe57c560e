"""Plans a streamed pass within a memory budget: groups at a time, and the store for tokens.

Every part of the sum has a name, so that an error can say what the memory is needed for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fitcli.device.runtime import LARGEST_FREE, Precision
from fitcli.errors import OverLimit
from fitcli.memory.dry_run import DryPass
from fitcli.memory.estimate import FLOAT, OVERHEAD
from fitcli.memory.handfuls import usual_handful
from fitcli.memory.samples import SamplePass
from fitcli.memory.sizes import actual_sizes
from fitcli.memory.table import Peak
from fitcli.memory.table_store import find_table
from fitcli.streaming.token_store import StoreKind
from models.config import TrunkConfig
from models.piecewise_latents import PIECE

READ_AHEAD = 4
"""Handfuls of pixels in memory: one is computed, one is read, two are queued."""

SLACK = 1.15
"""Bytes that allocators take for every byte that is requested for a handful."""

HANDFUL_PARTS = ("stem and head", "local layers", "read and write")
"""Purposes of the bytes that grow with a handful."""

KEPT_CHUNKS = 0.6
"""Freed bytes that the allocator keeps of threads that decode, for every byte of decoded chunks."""

SAMPLER_VALUES = 8
"""Values per predicted value: prediction, noisy patches, data, noise, and inputs and results of the sampler."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A streamed pass over an image, whose memory is planned.

    Attributes:
        task: Task of the model.
        config: Config of the model.
        precision: Precision of matrix products.
        groups: Number of groups of the image.
        weights_bytes: Size of the weights.
        value_bytes: Bytes per value of a patch as it is read.
        values: Values per patch.
        reader_bytes: Size of the decoded chunks that the reader caches.
        finish_bytes: Memory for the work after the pass, such as a heat map or scores.
        keep_reads: Whether the weights of the last `read` are kept, for a heat map.
        keep_state: Whether everything is stored on disk, so that another process can continue.
        window_bytes: Memory on the host for a window of the image that is read as a whole.
        canvas_bytes: Size of the canvases that are kept on the device that computes.
        output_values: Values per patch of a prediction that is processed on the device; 0 without predictions.
    """

    task: SamplePass
    config: TrunkConfig
    precision: Precision
    groups: int
    weights_bytes: int
    value_bytes: int
    values: int
    reader_bytes: int = 0
    finish_bytes: int = 0
    keep_reads: bool = False
    keep_state: bool = False
    window_bytes: int = 0
    canvas_bytes: int = 0
    output_values: int = 0

    @property
    def tokens_bytes(self) -> int:
        """Size of all stored tokens; 0 if the model needs one sweep only, which stores none."""
        return self._peak(1, stored_here=False).stored_bytes

    @property
    def reads_bytes(self) -> int:
        """Size of the weights that are kept of the last `read`."""
        return FLOAT * self.groups * self.config.latents * self.config.tokens if self.keep_reads else 0

    def handful_bytes(self, handful: int, stored_here: bool) -> dict[str, int]:
        """Return the bytes that a pass takes with a handful of groups at a time, by purpose.

        Args:
            handful: Number of groups.
            stored_here: Whether the tokens are stored on the device that computes.
        """
        parts = self._peak(handful, stored_here).parts
        for name in HANDFUL_PARTS:
            parts[name] = int(SLACK * parts[name])
        return parts

    @property
    def dry_pass(self) -> DryPass:
        """The dry run whose table tells what the pass takes."""
        return DryPass(
            task=self.task,
            config=self.task.typical_config(self.config),
            # The types of 16 bits take the same memory.
            precision="fp32" if self.precision == "fp32" else "bf16",
            streamed=True,
            in_pieces=self.groups * self.config.latents > PIECE,
            keep_reads=self.keep_reads,
        )

    def _peak(self, handful: int, stored_here: bool) -> Peak:
        without = {"pixels", "workspace"} | (set() if stored_here else {"stored tokens"})
        return find_table(self.dry_pass).peak(actual_sizes(1, self.groups, handful), without)


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
        OverLimit: Even one group at a time takes more. The message says how much.
    """
    most = min(usual_handful(work.config, "pass", device), work.groups)
    for store, reads in _stores(work, device, host_bytes):
        handful = largest_handful(work, device, store, reads, budget_bytes)
        # Halving the handful costs less time than storing tokens on disk.
        if handful >= max(1, most // 2) or ((store, reads) == ("disk", "disk") and handful >= 1):
            parts = pass_parts(work, device, handful, store, reads)
            return MemoryPlan(budget_bytes=budget_bytes, handful=handful, store=store, reads_store=reads, parts=parts)
    least = pass_parts(work, device, 1, "disk", "disk")
    raise OverLimit(_too_little_text(work, budget_bytes, least), sum(least.values()))


def _too_little_text(work: Work, budget_bytes: int, parts: dict[str, int]) -> str:
    largest = ", ".join(f"{name} {size_text(size)}" for name, size in sorted(parts.items(), key=lambda p: -p[1])[:3])
    return (
        f"{work.groups} groups need at least {size_text(sum(parts.values()))} of memory ({largest}), "
        f"but only {size_text(budget_bytes)} are allowed; give more with --memory, or use a model with larger groups"
    )


def _fixed_parts(work: Work, device: str) -> dict[str, int]:
    """Return the bytes that a pass takes whatever the handful and the stores, by purpose."""
    parts = {
        "weights": work.weights_bytes,
        "image reader": work.reader_bytes if device == "cpu" else 0,
        "window": work.window_bytes if device == "cpu" else 0,
        "canvas": work.canvas_bytes,
        "overhead": OVERHEAD[device],
    }
    return {name: size for name, size in parts.items() if size}


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


def largest_handful(work: Work, device: str, store: StoreKind, reads: StoreKind, budget_bytes: int) -> int:
    """Return the largest handful, of at most the usual size, with which a pass fits a budget; 0 if none does."""
    most = min(usual_handful(work.config, "pass", device), work.groups)
    return largest(lambda handful: sum(pass_parts(work, device, handful, store, reads).values()) <= budget_bytes, most)


def pass_parts(work: Work, device: str, handful: int, store: StoreKind, reads: StoreKind) -> dict[str, int]:
    """Return the bytes on the device that computes, by purpose, in the phase that takes the most."""
    patches = handful * work.config.tokens
    held = work.handful_bytes(handful, stored_here=store == ("host" if device == "cpu" else "device"))
    parts = {
        **_fixed_parts(work, device),
        **held,
        "pixels": patches * work.values * work.value_bytes * (READ_AHEAD if device == "cpu" else 1),
        "sampler": FLOAT * SAMPLER_VALUES * patches * work.output_values,
        "reads for the heat map": work.reads_bytes if device == "cpu" and reads == "host" else 0,
    }
    if device == "cpu":
        first = work.handful_bytes(1, stored_here=False)
        grown = sum(held.get(name, 0) - first.get(name, 0) for name in HANDFUL_PARTS)
        parts["kept for reuse"] = kept_for_reuse(max(0, grown), work.reader_bytes)
        # The heat map comes after the pass, when the stored tokens are released, but not what the allocator keeps.
        # Weights exist twice while they are loaded, before anything else.
        later = work.finish_bytes - held.get("stored tokens", 0)
        earlier = work.weights_bytes + parts["weights"] + parts["overhead"] - sum(parts.values())
        parts["after the pass, or loading"] = max(0, later, earlier)
    return {name: size for name, size in parts.items() if size}


def kept_for_reuse(handful_bytes: int, reader_bytes: int = 0) -> int:
    """Return the freed bytes that the allocator of a CPU keeps during a pass, see `runtime.keep_freed_memory`.

    Measured: at most as much as a handful takes, and a part of what threads decode.

    Args:
        handful_bytes: Bytes by which what a pass takes grows with the handful. What it takes once, at its start, is
            over when something is kept.
        reader_bytes: Bytes of decoded chunks that a reader holds.
    """
    return min(LARGEST_FREE, handful_bytes + int(KEPT_CHUNKS * reader_bytes))


def largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest of 1 ... `most` that fits; 0 if none does. Smaller numbers must fit if a larger one does."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def shown_bytes(size_bytes: int) -> int:
    """Return the size that `size_text` writes."""
    if size_bytes >= 2**30:
        return -(-size_bytes * 100 // 2**30) * 2**30 // 100
    return -(-size_bytes // 2**20) * 2**20


def size_text(size_bytes: float) -> str:
    """Return a size as text, rounded up: a budget of the size that a message names is enough."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if size_bytes >= scale or unit == "MiB":
            hundredths = -(-int(size_bytes) * 100 // scale)
            return f"{hundredths / 100:.2f} {unit}" if unit == "GiB" else f"{-(-int(size_bytes) // scale)} MiB"
    raise AssertionError
