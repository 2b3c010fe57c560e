"""A training step on paper, in pieces that can be gone through a handful at a time: the twin of `execution/job.py`."""

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
    """Handfuls that go the same way.

    Attributes:
        times: How many.
        groups: In each.
        kept: Their activations are kept.
    """

    times: int
    groups: int
    kept: bool


def bundles(groups: int, plan: ExecutionPlan) -> list[Bundle]:
    """All handfuls in order. Of those that go the same way the first and the last stand alone: they see the most."""
    handful = min(plan.handful, groups)
    whole, rest = divmod(groups, handful)
    count = whole + (rest > 0)
    kept = plan.kept(count) if plan.kind == "recompute" else 0
    # What is left over is the last, and kept where any is.
    replayed = whole - max(0, kept - (rest > 0))
    found = [Bundle(times, handful, False) for times in _first_middle_last(replayed)]
    found += [Bundle(times, handful, True) for times in _first_middle_last(whole - replayed)]
    return found + ([Bundle(1, rest, kept > 0)] if rest else [])


def _first_middle_last(count: int) -> list[int]:
    return [1] * count if count <= 2 else [1, count - 2, 1]


@dataclass
class PaperStep:
    """A training step on paper.

    Attributes:
        parts, ends: Of the model.
        groups: Of the whole batch.
        plan: How it is executed.
        near: The store that is in the memory that computes.
        stores: That are open.
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
        """Of all latents."""
        return FLOAT * self.groups * self.parts.config.latents * self.parts.config.latent_width

    def start(self) -> Value:
        """The latents before the first segment."""
        with self.run.labelled("latents"):
            return self.ends.begin(Value(self.run.make(self.latent_bytes), Node(self.run.ledger)), self.parts)

    def tokens(self, bundle: Bundle) -> Buffer:
        """The tokens of a handful, out of a store."""
        config = self.parts.config
        return self.run.make(FLOAT * bundle.groups * config.tokens * config.token_width)

    def entering(
        self, index: int, bundle: Bundle, latents: Value, wanted: bool
    ) -> tuple[Value | None, Value, Value | None]:
        """What a segment is given of a handful."""
        ledger, share = self.run.ledger, latents.size * bundle.groups // self.groups

        def given(buffer: Buffer, size: int | None = None) -> Value:
            return Value(buffer, Node(ledger) if wanted else None, size=size)

        tokens = given(self.tokens(bundle)) if index else None
        written = given(latents.buffer, share) if index else None
        return tokens, given(latents.buffer, share), written

    def rest(self, index: int) -> None:
        """Open a store for the tokens that enter a segment."""
        config = self.parts.config
        size = FLOAT * self.groups * config.tokens * config.token_width
        label = "tokens at rest" if self.plan.store == self.near else None
        self.stores[index] = self.run.ledger.take(label, size) if label else None
        self.away += 0 if label else size

    def leave(self, index: int) -> None:
        """Close it."""
        self.stores.pop(index, None)

    def backward(self, losses: list[Value | None]) -> None:
        """From the losses to all gradients."""
        gradient = self.run.make(FLOAT)
        backward([(loss, gradient) for loss in losses])

    def mixes(self, index: int) -> bool:
        """Whether anything depends on the `read` and `mix` of a segment."""
        if index == self.segments - 1 and not isinstance(self.parts.config, ClassifierConfig):
            return False
        return self.parts.config.segments[index][1] > 0


class PaperVisit(NamedTuple):
    """As `execution.job.PaperVisit`."""

    tokens: Value | None
    read: Value | None
    losses: Value | None


def visit_segment(
    step: PaperStep, index: int, groups: int, tokens: Value | None, latents: Value, readable: Value | None
) -> PaperVisit:
    """As `Job.visit`."""
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
