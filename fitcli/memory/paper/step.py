"""A training step on paper, cut into visits of handfuls: the twin of `execution/job.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fitcli.execution.plan import ExecutionPlan, Store
from fitcli.memory.paper.heads_and_stems import Ends
from fitcli.memory.paper.layers import Parts
from fitcli.memory.paper.ledger import Buffer, Node, Value, backward
from fitcli.memory.paper.operations import FLOAT, Operations
from models.config import ClassifierConfig


@dataclass(frozen=True)
class Bundle:
    """Handfuls that are run in the same way.

    Attributes:
        times: Number of handfuls.
        groups: Groups of each handful.
        kept: Whether their activations are kept.
    """

    times: int
    groups: int
    kept: bool


def bundles(groups: int, plan: ExecutionPlan) -> list[Bundle]:
    """Return all handfuls in order. The first and the last of a kind are bundles of one: the peak is in one of them."""
    handful = min(plan.handful, groups)
    whole, rest = divmod(groups, handful)
    count = whole + (rest > 0)
    kept = plan.kept(count) if plan.kind == "recompute" else 0
    # The incomplete handful is the last, and it is kept if any is.
    replayed = whole - max(0, kept - (rest > 0))
    result = [Bundle(times, handful, False) for times in _first_middle_last(replayed)]
    result += [Bundle(times, handful, True) for times in _first_middle_last(whole - replayed)]
    return result + ([Bundle(1, rest, kept > 0)] if rest else [])


def _first_middle_last(count: int) -> list[int]:
    return [1] * count if count <= 2 else [1, count - 2, 1]


@dataclass
class PaperStep:
    """A training step on paper.

    Attributes:
        parts, ends: Layers, stem and head of the model.
        groups: Number of groups of the batch.
        plan: Execution of the step.
        near: Kind of store that is in the memory of the device that computes.
        stores: Open stores by segment; None for a store elsewhere.
        away: Bytes in stores elsewhere.
    """

    parts: Parts
    ends: Ends
    groups: int
    plan: ExecutionPlan
    near: Store = "device"
    stores: dict[int, Buffer | None] = field(default_factory=dict)
    away: int = 0

    @property
    def run(self) -> Operations:
        return self.parts.run

    @property
    def segments(self) -> int:
        return len(self.parts.config.segments)

    @property
    def latent_bytes(self) -> int:
        """Size of all latents."""
        return FLOAT * self.groups * self.parts.config.latents * self.parts.config.latent_width

    def start(self) -> Value:
        """Return the latents before the first segment."""
        with self.run.labelled("latents"):
            return self.ends.begin(Value(self.run.make(self.latent_bytes), Node(self.run.ledger)), self.parts)

    def tokens(self, bundle: Bundle) -> Buffer:
        """Read the tokens of a handful from a store."""
        config = self.parts.config
        return self.run.make(FLOAT * bundle.groups * config.tokens * config.token_width)

    def entering(
        self, index: int, bundle: Bundle, latents: Value, wanted: bool
    ) -> tuple[Value | None, Value, Value | None]:
        """Return the inputs of a segment for a handful: tokens, latents, and latents to write from."""
        ledger, share = self.run.ledger, latents.size * bundle.groups // self.groups

        def given(buffer: Buffer, size: int | None = None) -> Value:
            return Value(buffer, Node(ledger) if wanted else None, size=size)

        tokens = given(self.tokens(bundle)) if index else None
        written = given(latents.buffer, share) if index else None
        return tokens, given(latents.buffer, share), written

    def rest(self, index: int) -> None:
        """Open the store for the tokens that enter a segment."""
        config = self.parts.config
        size = FLOAT * self.groups * config.tokens * config.token_width
        label = "tokens at rest" if self.plan.store == self.near else None
        self.stores[index] = self.run.ledger.take(label, size) if label else None
        self.away += 0 if label else size

    def leave(self, index: int) -> None:
        """Close the store of a segment."""
        self.stores.pop(index, None)

    def backward(self, losses: list[Value | None]) -> None:
        """Run the backward pass from the losses."""
        gradient = self.run.make(FLOAT)
        backward([(loss, gradient) for loss in losses])

    def mixes(self, index: int) -> bool:
        """Return whether the loss depends on the `read` and `mix` of a segment."""
        if index == self.segments - 1 and not isinstance(self.parts.config, ClassifierConfig):
            return False
        return self.parts.config.segments[index][1] > 0


class PaperVisit(NamedTuple):
    """The twin of `execution.job.Visit`: results of a segment for a handful."""

    tokens: Value | None
    read: Value | None
    losses: Value | None


def visit_segment(
    step: PaperStep, index: int, groups: int, tokens: Value | None, latents: Value, readable: Value | None
) -> PaperVisit:
    """Run a segment for a handful, as `Job.visit` does."""
    parts, ends = step.parts, step.ends
    if tokens is None or readable is None:
        tokens = ends.embed(groups)
    else:
        tokens = parts.write(tokens, readable, groups, index - 1)
    tokens = parts.local(tokens, groups, index, "direct")
    read = parts.read(latents, tokens, groups, index) if step.mixes(index) else None
    if index < step.segments - 1:
        return PaperVisit(tokens, read, None)
    return PaperVisit(None, read, ends.loss_from_tokens(tokens, groups))
