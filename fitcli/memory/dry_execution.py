"""Executions of a step and of a pass whose handfuls are the parts of a dry run, and whose stores have no memory."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.meter import Meter
from fitcli.memory.sizes import IMAGE_GROUPS, DrySizes
from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import TokenStore


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


def part_slices(sizes: DrySizes) -> list[slice]:
    """Return the parts of a dry run as slices of its groups."""
    lengths = sizes.parts or (sizes.images * IMAGE_GROUPS,)
    stops = np.cumsum(lengths).tolist()
    return [slice(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)]
