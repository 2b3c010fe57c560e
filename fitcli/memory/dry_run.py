"""Runs a real training step, or a real forward pass, on tensors without memory.

PyTorch's fake tensors have a shape and a dtype only. Fake CUDA tensors need a CUDA build, so these are fake CPU
tensors. A hook imitates CUDA autocast where it differs: normalisation takes and returns float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from fitcli.device.runtime import Precision
from fitcli.errors import FitError
from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.memory.meter import Meter
from fitcli.memory.sizes import HANDFUL, IMAGE_GROUPS, IMAGES, DrySizes, dry_sizes, typical_sizes
from fitcli.memory.table import Table
from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import TokenStore
from models.attention import dot_product_attention
from models.build import build
from models.causal_strips import CausalStrips
from models.config import TrunkConfig
from models.groups import Groups
from models.piecewise_latents import PIECE
from models.precast_weights import precast_weights
from models.trunk import Mix

WITHOUT_VALUES = (
    NotImplementedError, UnsupportedFakeTensorException, DataDependentOutputException, DynamicOutputShapeException,
)  # fmt: skip
"""Errors of operations that need the values of their tensors."""

NO_PIECES = 2**62
"""Size of a piece of latents that is larger than any number of latents."""


class StepInput(NamedTuple):
    """The input of one group of a training step.

    Attributes:
        shape: Shape without the axis of groups: patches [n p], or levels [n] of a decoder.
        dtype: Type of the values.
        values: Number of different values, which are 0 ... `values - 1`.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    values: int


class SampleInput(Protocol):
    """The parts that a step and a pass over sample images have in common.

    Attributes:
        name: Name of the task.
    """

    @property
    def name(self) -> str: ...

    def typical_config(self, config: Any) -> Any:
        """Return a config whose step takes the same memory beside the weights, with a usual number of classes."""

    def step_input(self, config: Any) -> StepInput:
        """Return the input of one group."""


class SampleStep(SampleInput, Protocol):
    """A training step over sample images: the part of a task that a dry run needs."""

    def sample_step(self, model: Any, groups: Groups, read: Callable[[slice], Tensor], plan: ExecutionPlan) -> Job:
        """Return the step.

        Args:
            model: A model of the task.
            groups: All groups of the batch, on its device.
            read: Returns the input of a slice of the groups, on the device of the model.
            plan: Execution of the step.
        """


class SamplePass(SampleInput, Protocol):
    """A forward pass over a sample image.

    Attributes:
        casts_weights_ahead: Whether inference holds weights in the precision in which they are multiplied.
        returns_reads: Whether a streamed pass can return the weights of the last `read`.
    """

    @property
    def casts_weights_ahead(self) -> bool: ...

    @property
    def returns_reads(self) -> bool: ...

    def sample_pass(
        self,
        model: Any,
        groups: Groups,
        inputs: Tensor,
        device: torch.device,
        how: Streaming | None,
        keep_reads: bool = False,
    ) -> None:
        """Run the pass.

        Args:
            model: A model of the task, in eval mode.
            groups: All groups of the image.
            inputs: Input of all groups, in host memory.
            device: Device of the model.
            how: Handfuls and store of a streamed pass; None for one call over everything.
            keep_reads: Whether a streamed pass of an encoder returns the weights of the last `read`.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class DryPlan(ExecutionPlan):
    """An execution whose handfuls are the parts of a dry run.

    Attributes:
        sizes: Sizes of the dry run.
        meter: Meter of the dry run.
    """

    sizes: DrySizes
    meter: Meter

    def slices(self, count: int, largest: int | None = None) -> list[slice]:
        """Return the parts of the dry run."""
        return part_slices(self.sizes)

    def open_store(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> TokenStore:
        """Open a store without memory. Only those of a streamed step may be elsewhere than on the device."""
        return DryStore(self.meter, shape, dtype, device, is_elsewhere=self.kind == "stream")

    def kept(self, handfuls: int) -> int:
        """Return how many parts are kept."""
        return self.sizes.kept_parts


@dataclass(frozen=True, kw_only=True, slots=True)
class DryStreaming(Streaming):
    """Settings of a pass whose handfuls are the parts of a dry run.

    Attributes:
        sizes: Sizes of the dry run.
        meter: Meter of the dry run.
    """

    sizes: DrySizes
    meter: Meter

    def slices(self, count: int, first: int = 0) -> list[slice]:
        """Return the parts of the dry run."""
        return part_slices(self.sizes)

    def open_store(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> TokenStore:
        """Open a store without memory."""
        return DryStore(self.meter, shape, dtype, device)


class DryStore(TokenStore):
    """A store of tokens without memory.

    Args:
        meter: Meter of the dry run, which counts the stored tokens for a purpose of their own.
        shape, dtype, device: As for every store.
        is_elsewhere: Whether the tokens may be stored elsewhere than on the device that computes.
    """

    def __init__(
        self,
        meter: Meter,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        device: torch.device,
        is_elsewhere: bool = True,
    ) -> None:
        with meter.purpose("stored tokens") if is_elsewhere else nullcontext():
            self._tokens: Tensor | None = torch.empty(shape, dtype=dtype, device=device)

    def put(self, part: slice, tokens: Tensor) -> None:
        """Check the type of the tokens, which have no values."""
        assert self._tokens is not None
        assert tokens.dtype == self._tokens.dtype

    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        """Return new tokens of the slice."""
        assert self._tokens is not None
        return torch.empty_like(self._tokens[part])

    def close(self) -> None:
        """Release the tokens."""
        self._tokens = None


class DryStrips(CausalStrips):
    """All strips as one, so that what they leave is a multiple of all latents. Its mask has one row, see `Meter`."""

    __slots__ = ()

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, start: int) -> Tensor:
        key, value = (torch.narrow(whole, 2, 0, whole.shape[2]) for whole in (key, value))
        return torch.cat([dot_product_attention(query, key, value, self.mask[-1:])], dim=2)


def part_slices(sizes: DrySizes) -> list[slice]:
    """Return the parts of a dry run as slices of its groups."""
    lengths = sizes.parts or (sizes.images * IMAGE_GROUPS,)
    stops = np.cumsum(lengths).tolist()
    return [slice(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)]


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
            streaming = how if self.streamed else None
            self.task.sample_pass(model.eval(), groups, inputs, torch.device("cpu"), streaming, self.keep_reads)
        return Table.of(meter, typical_sizes(self.streamed, some_kept=False))


@contextmanager
def dry_model(model: nn.Module, precision: Precision, sizes: DrySizes) -> Iterator[Meter]:
    """Give a model on the device "meta" weights without memory; yield a meter that records what runs in the context.

    Raises:
        FitError: An operation cannot run without memory.
    """
    with FakeTensorMode():
        without_memory(model)
        for mix in (module for module in model.modules() if isinstance(module, Mix)):
            mix.strips = DryStrips
        try:
            with Meter(model, sizes) as meter, autocast(precision):
                yield meter
        except WITHOUT_VALUES as error:
            raise FitError(
                f"the memory of this model cannot be estimated ({_first_line(error)}); measure it with "
                "`fit profile-memory --method measure`, or train without --memory"
            ) from error


def _build(config: TrunkConfig, ranks: int = 1) -> Any:
    """Build a model on the device "meta". A table of positions has a row for each group of an image."""
    return build(replace(config, groups=IMAGE_GROUPS * ranks) if config.groups else config, "meta")  # type: ignore[call-overload]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def without_memory(model: nn.Module) -> None:
    """Give a model on the device "meta" weights without memory on a CPU, and the casts of CUDA."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
        if isinstance(module, nn.LayerNorm):
            module.register_forward_pre_hook(lambda module, inputs: (inputs[0].float(),))


def autocast(precision: Precision) -> AbstractContextManager[Any]:
    """Return the autocast of a precision on a CPU."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()


class _Gathered(torch.autograd.Function):
    """Has the memory of `latent_exchange.Exchange`, without other processes."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: int) -> Tensor:
        return values.new_empty(ranks, *values.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        parts = torch.empty_like(gradient)
        return parts.sum(dim=0, dtype=torch.promote_types(gradient.dtype, torch.float32)).to(gradient.dtype), None


def dry_gather(ranks: int, values: Tensor) -> Tensor:
    """Return the memory of an all-gather over ranks, without other processes."""
    return _Gathered.apply(values, ranks)  # type: ignore[no-any-return,no-untyped-call]


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
    def key(self) -> str:
        """Text that identifies it."""

    def table(self) -> Table:
        """Run it and return its table."""


def _key(kind: str, run: DryStep | DryPass, *settings: Any) -> str:
    return key_of([kind, run.task.name, run.config.to_dict(), run.precision, *settings])


def key_of(document: list[Any]) -> str:
    """Return the hash of JSON data that identifies a dry run."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
