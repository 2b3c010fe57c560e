"""Runs a real training step, or a real forward pass, on tensors without memory, and makes its table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from fitcli.device.runtime import Precision
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.dry_execution import DryPlan, DryStreaming
from fitcli.memory.dry_model import dry_gather, dry_model
from fitcli.memory.samples import SampleImage, SamplePass, SampleStep, StepInput
from fitcli.memory.sizes import HANDFUL, IMAGE_GROUPS, IMAGES, dry_sizes, typical_sizes
from fitcli.memory.table import Table
from models.build import build
from models.config import TrunkConfig
from models.groups import Groups
from models.piecewise_latents import PIECE
from models.precast_weights import precast_weights

NO_PIECES = 2**62
"""Size of a piece of latents that is larger than any number of latents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DryStep:
    """A training step to run without memory.

    Attributes:
        task: Task of the model.
        config: Config of the model.
        plan: Execution, of which the size of a handful and the exact fraction of kept handfuls do not matter.
        precision: Precision of matrix products.
        ranks: Number of processes that share each image; the step is that of the first.
    """

    task: SampleStep
    config: TrunkConfig
    plan: ExecutionPlan
    precision: Precision
    ranks: int = 1

    @property
    def has_added_part(self) -> bool:
        """Whether a part of the model is the code of others."""
        return self.config.has_added_part

    @property
    def key(self) -> str:
        """Text that identifies the step."""
        plan = [self.plan.kind, self.plan.keep, self.plan.selective, self.plan.global_layers]
        return _key("step", self, plan, self.ranks)

    def table(self) -> Table:
        """Run the step and return its table."""
        in_handfuls, kept = self.plan.in_handfuls, self.plan.keep
        sizes = dry_sizes(IMAGES, in_handfuls, 0 < kept < 1, kept == 1)
        model, shared = _build(self.config, self.ranks), fields(ExecutionPlan)
        with dry_model(model, self.precision, sizes) as meter:
            plan = DryPlan(**{each.name: getattr(self.plan, each.name) for each in shared}, sizes=sizes, meter=meter)
            groups = _dry_groups(IMAGES, self.ranks)
            with meter.purpose("pixels"):
                one = self.task.step_input(self.config)
                read = reader(one, len(groups.number), on_device=plan.kind != "stream")
            run_job(self.task.sample_step(model, groups, read, plan), plan)
        return Table.of(meter, typical_sizes(in_handfuls, 0 < kept < 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class DryPass:
    """A forward pass over one image to run without memory.

    Attributes:
        task: Task of the model.
        config: Config of the model.
        precision: Precision of matrix products.
        streamed: Whether the pass takes a handful of groups at a time.
        in_pieces: Whether a streamed pass has more latents than `mix` takes at once.
        keep_reads: Whether a streamed pass keeps the weights of the last `read`.
    """

    task: SamplePass
    config: TrunkConfig
    precision: Precision
    streamed: bool
    in_pieces: bool = False
    keep_reads: bool = False

    @property
    def has_added_part(self) -> bool:
        """Whether a part of the model is the code of others."""
        return self.config.has_added_part

    @property
    def key(self) -> str:
        """Text that identifies the pass."""
        return _key("pass", self, self.streamed, self.in_pieces, self.keep_reads)

    def table(self) -> Table:
        """Run the pass and return its table."""
        sizes = dry_sizes(1, handfuls=self.streamed)
        model = _build(self.config)
        if self.task.casts_weights_ahead and self.precision == "bf16":
            precast_weights(model, torch.bfloat16)
        with dry_model(model, self.precision, sizes) as meter, torch.no_grad():
            groups, one = _dry_groups(1), self.task.step_input(self.config)
            with meter.purpose("pixels"):
                inputs = torch.zeros(len(groups.number), *one.shape, dtype=one.dtype)
            piece = PIECE if self.in_pieces else NO_PIECES
            how = DryStreaming(handful=HANDFUL, ahead=0, piece=piece, sizes=sizes, meter=meter)
            image = SampleImage(groups, inputs, torch.device("cpu"), self.keep_reads)
            self.task.sample_pass(model.eval(), image, how if self.streamed else None)
        return Table.of(meter, typical_sizes(self.streamed, some_kept=False))


def _build(config: TrunkConfig, ranks: int = 1) -> Any:
    """Build a model on the device "meta". A table of positions has a row for each group of an image."""
    return build(replace(config, groups=IMAGE_GROUPS * ranks) if config.groups else config, "meta")  # type: ignore[call-overload]


def _dry_groups(images: int, ranks: int = 1) -> Groups:
    groups = Groups.of_grid(images, IMAGE_GROUPS * ranks, 1)
    return groups.share_of(0, ranks, partial(dry_gather, ranks)) if ranks > 1 else groups


def reader(one: StepInput, groups: int, on_device: bool) -> Callable[[slice], Tensor]:
    """Return a function that reads a slice of the groups, from a tensor on the device or as a new tensor."""
    stored = torch.zeros(groups, *one.shape, dtype=one.dtype) if on_device else None
    return lambda part: (
        torch.zeros(part.stop - part.start, *one.shape, dtype=one.dtype) if stored is None else stored[part]
    )


class DryRun(Protocol):
    """Something that can run without memory."""

    @property
    def has_added_part(self) -> bool:
        """Whether a part of the model is the code of others."""

    @property
    def key(self) -> str:
        """Text that identifies it."""

    def table(self) -> Table:
        """Run it and return its table."""


def _key(kind: str, run: DryStep | DryPass, *settings: Any) -> str:
    # How weights begin changes no size.
    config = replace(run.config, attention_start="reference").to_dict()
    return key_of([kind, run.task.name, config, run.precision, *settings])


def key_of(document: list[Any]) -> str:
    """Return the hash of JSON data that identifies a dry run."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
