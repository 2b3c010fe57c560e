"""Models without memory: real modules whose weights are PyTorch's fake tensors, which have a shape and a dtype only.

Fake CUDA tensors need a CUDA build, so these are fake CPU tensors. A hook imitates CUDA autocast where it differs:
normalisation takes and returns float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

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
from fitcli.memory.meter import Meter
from fitcli.memory.sizes import DrySizes
from models.attention import dot_product_attention
from models.causal_strips import CausalStrips
from models.trunk import Mix

WITHOUT_VALUES = (
    NotImplementedError, UnsupportedFakeTensorException, DataDependentOutputException, DynamicOutputShapeException,
)  # fmt: skip
"""Errors of operations that need the values of their tensors."""


@contextmanager
def dry_model(model: nn.Module, precision: Precision, sizes: DrySizes) -> Iterator[Meter]:
    """Give a model on the device "meta" weights without memory; yield a meter that records what runs in the context.

    Raises:
        FitError: An operation cannot run without memory.
    """
    # In inference mode, the attention of a CPU loops over queries, which takes minutes without memory.
    with torch.inference_mode(False), FakeTensorMode():
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


class DryStrips(CausalStrips):
    """All strips as one, so that what they leave is a multiple of all latents. Its mask has one row, see `Meter`."""

    __slots__ = ()

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        key, value = (torch.narrow(whole, 2, 0, whole.shape[2]) for whole in (key, value))
        return torch.cat([dot_product_attention(query, key, value, self.mask[-1:])], dim=2)


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
