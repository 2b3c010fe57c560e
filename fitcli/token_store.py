"""Where the tokens of all groups rest while only a handful of groups is on the device.

Knows neither models nor images: slices of a tensor [g n c] go in and come out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import torch
from torch import Tensor


class TokenStore(ABC):
    """Tokens [g n c] at rest. What was never put is undefined.

    Leaving the context, or `close`, releases everything, also after an error.
    """

    @abstractmethod
    def put(self, part: slice, tokens: Tensor) -> None:
        """Keep the tokens [part n c] of a slice of the groups, in place of what was there. They are copied."""

    @abstractmethod
    def get(self, part: slice) -> Tensor:
        """The tokens [part n c] of a slice of the groups, on the device that computes. The caller may change them."""

    @abstractmethod
    def close(self) -> None:
        """Release memory and files. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryStore(TokenStore):
    """Rests in memory: of the device that computes, or of the host (pinned, where that is another).

    Args:
        shape: (g, n, c).
        dtype: Of the tokens at rest.
        device: That computes.
        on_device: Rest there rather than in host memory.
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, on_device: bool = False
    ) -> None:
        self._device = device
        pinned = not on_device and device.type == "cuda"
        self._tokens: Tensor | None = torch.empty(
            shape, dtype=dtype, device=device if on_device else "cpu", pin_memory=pinned
        )

    def put(self, part: slice, tokens: Tensor) -> None:
        assert self._tokens is not None, "the store is closed"
        self._tokens[part].copy_(tokens, non_blocking=True)

    def get(self, part: slice) -> Tensor:
        assert self._tokens is not None, "the store is closed"
        return self._tokens[part].to(self._device, non_blocking=True, copy=True)

    def close(self) -> None:
        self._tokens = None
