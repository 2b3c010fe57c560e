"""Values between the host and the device that computes: neither waits for the other more often than it must.

A CUDA device fetches values from pinned memory by itself; from other memory the host has to hand them over, and may
wait for what the device is busy with first. PyTorch keeps pinned memory that is freed for the next values of about that
size, once the device is done with it: pinning costs a copy within the host, and a call of the driver at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

IN_FLIGHT = 2
"""Slices that may be on their way to a CUDA device before the host waits for the computing of an earlier one."""


def pinned(values: Tensor, device: torch.device) -> Tensor:
    """The same values where a CUDA device can fetch them by itself; as they are where another device computes."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values
    # Contiguous first: the device fetches one piece, and another copy would not be pinned.
    values = values.contiguous()
    try:
        return values.pin_memory()
    except RuntimeError:
        # The system has no more of such memory to give: what is sent from other memory is slower, and as right.
        return values


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Values on the device, without waiting for what that is busy with.

    On MPS the host does wait: the copy would read its source later, when that may be gone (pytorch issue 189690). On
    CUDA it may go at once: pinned memory that is freed is not used again before the copy is done.
    """
    return pinned(values, device).to(device, non_blocking=device.type != "mps")


class Sending(NamedTuple):
    """Values on their way to a CUDA device, beside what that computes.

    Attributes:
        source: In pinned memory.
        values: The copy of it.
        done: When all of it is there.
    """

    source: Tensor
    values: Tensor
    done: torch.cuda.Event

    def arrive(self) -> Tensor:
        """The values, for the current stream to use: it waits for them, and the host does not."""
        current = torch.cuda.current_stream(self.values.device)
        current.wait_event(self.done)
        # Their memory is that of another stream, which must not have it back before this one is done with them.
        self.values.record_stream(current)
        return self.values


class DeviceCopies:
    """Copies between pinned host memory and a CUDA device, beside what the current stream computes.

    One stream per direction: a read must not queue behind a write that waits for the computing before it.

    Args:
        device: That computes.
        in_flight: Copies to the device that may be begun before the host waits for the computing of an earlier one.
    """

    def __init__(self, device: torch.device, in_flight: int = IN_FLIGHT) -> None:
        self._device, self._in_flight = device, in_flight
        self._writes, self._reads = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        self._written: dict[tuple[int, int], torch.cuda.Event] = {}
        self._computed: list[torch.cuda.Event] = []

    def to_host(self, part: slice, tokens: Tensor, slot: Tensor) -> None:
        """Copy `tokens` into `slot` once the current stream has computed them, and read what was in the slot."""
        self._writes.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._writes):
            slot.copy_(tokens, non_blocking=True)
            self._written[part.start, part.stop] = self._writes.record_event()
        # Their memory is not given away before the copy is done.
        tokens.record_stream(self._writes)

    def to_device(self, slot: Tensor, part: slice | None = None, more: bool = False) -> Tensor:
        """A copy of `slot`, into which `part` was copied before, that the current stream may use.

        Args:
            more: Of the same slice as the copy before: it does not count as another one that is on its way.
        """
        return self.begin(slot, part, more).arrive()

    def begin(self, slot: Tensor, part: slice | None = None, more: bool = False) -> Sending:
        """Have a copy of `slot` set out, which is to arrive later; the rest as in `to_device`."""
        if not more:
            self._throttle(torch.cuda.current_stream(self._device))
        written = None if part is None else self._written.get((part.start, part.stop))
        if written is not None:
            self._reads.wait_event(written)
        elif part is not None:
            # Other slices than were written: wait for all of them.
            self._reads.wait_stream(self._writes)
        with torch.cuda.stream(self._reads):
            values = slot.to(self._device, non_blocking=True)
            return Sending(slot, values, self._reads.record_event())

    def wait(self) -> None:
        """Return when all copies are done: the pinned memory may go."""
        self._writes.synchronize()
        self._reads.synchronize()

    def _throttle(self, current: torch.cuda.Stream) -> None:
        # The host runs ahead of the device: without a limit all slices would be copied there before one is computed.
        self._computed.append(current.record_event())
        if len(self._computed) > self._in_flight:
            self._computed.pop(0).synchronize()


def read_together(tensors: Sequence[Tensor]) -> list[list[float]]:
    """The values of tensors of any shape, flattened, in one copy: the host waits once for the device.

    Args:
        tensors: One or more, on the same device. Whole numbers are exact up to 2**24.
    """
    # At least float32, which holds halves exactly; MPS has nothing longer.
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    values = torch.cat([tensor.detach().flatten().to(dtype) for tensor in tensors]).tolist()
    found, start = [], 0
    for tensor in tensors:
        found.append(values[start : start + tensor.numel()])
        start += tensor.numel()
    return found
