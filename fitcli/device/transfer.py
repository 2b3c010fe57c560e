"""Copies values between the host and the device that computes, with as little waiting as possible.

A CUDA device fetches values from pinned memory by itself. From other memory the host has to send them, and may first
wait until the device is idle. PyTorch reuses freed pinned memory for later values of about the same size, once the
device is done with it. So pinning costs a copy within the host, and calls the driver only at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

IN_ORDER = ("cpu", "mps")
"""Types of devices whose values the host reads at once. It need not queue work ahead of a CPU; copies from MPS wait."""

IN_FLIGHT = 2
"""Number of slices in flight to a CUDA device before the host waits until an earlier one has been used."""


def pin(values: Tensor, device: torch.device) -> Tensor:
    """Copy values into pinned memory, from which a CUDA device can fetch them. For other devices return `values`."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values
    # Contiguous first: the device fetches one piece, and another copy would not be pinned.
    values = values.contiguous()
    try:
        return values.pin_memory()
    except RuntimeError:
        # The system has no more memory to pin. Copies from other memory are slower but correct.
        return values


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy values to a device without waiting until it is idle.

    On CUDA you may free the values at once: freed pinned memory is not reused before the copy is done. On MPS the host
    waits: otherwise the copy could read its source after that was freed (pytorch issue 189690).
    """
    return pin(values, device).to(device, non_blocking=device.type != "mps")


class PendingCopy(NamedTuple):
    """A copy to a CUDA device, in flight while the device computes.

    Attributes:
        source: The values in pinned memory.
        values: Their copy on the device, undefined until `done`.
        done: Event at the end of the copy.
    """

    source: Tensor
    values: Tensor
    done: torch.cuda.Event

    def receive(self) -> Tensor:
        """Return the values for use on the current stream, which waits for them. The host does not wait."""
        current = torch.cuda.current_stream(self.values.device)
        current.wait_event(self.done)
        # The memory belongs to another stream, which must not reuse it before this stream is done with it.
        self.values.record_stream(current)
        return self.values


class DeviceCopies:
    """Copies between pinned host memory and a CUDA device while the current stream computes.

    Each direction has its own stream: a read must not queue behind a write that waits for a computation.

    Args:
        device: The CUDA device.
        in_flight: Number of copies in flight to the device before the host waits until an earlier one has been used.
    """

    def __init__(self, device: torch.device, in_flight: int = IN_FLIGHT) -> None:
        self._device, self._in_flight = device, in_flight
        self._writes, self._reads = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        self._written: dict[tuple[int, int], torch.cuda.Event] = {}
        self._computed: list[torch.cuda.Event] = []

    def to_host(self, part: slice, tokens: Tensor, slot: Tensor) -> None:
        """Copy `tokens` into `slot`, after the current stream has computed them and read the old values of the slot."""
        self._writes.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._writes):
            slot.copy_(tokens, non_blocking=True)
            self._written[part.start, part.stop] = self._writes.record_event()
        # Otherwise the memory of the tokens could be reused before the copy is done.
        tokens.record_stream(self._writes)

    def to_device(self, slot: Tensor, part: slice | None = None, more: bool = False) -> Tensor:
        """Return a copy of `slot` for use on the current stream.

        Args:
            slot: Values in pinned memory.
            part: Slice that `to_host` copied into the slot before; None if it did not.
            more: Whether the copy continues the slice of the one before. It then does not count as another copy in
                flight.
        """
        return self.begin(slot, part, more).receive()

    def begin(self, slot: Tensor, part: slice | None = None, more: bool = False) -> PendingCopy:
        """Start a copy of `slot`, to be received later. The arguments are those of `to_device`."""
        if not more:
            self._throttle(torch.cuda.current_stream(self._device))
        written = None if part is None else self._written.get((part.start, part.stop))
        if written is not None:
            self._reads.wait_event(written)
        elif part is not None:
            # The slices differ from those that were written: wait for all writes.
            self._reads.wait_stream(self._writes)
        with torch.cuda.stream(self._reads):
            values = slot.to(self._device, non_blocking=True)
            return PendingCopy(slot, values, self._reads.record_event())

    def wait(self) -> None:
        """Wait until all copies are done, so that the pinned memory can be freed."""
        self._writes.synchronize()
        self._reads.synchronize()

    def _throttle(self, current: torch.cuda.Stream) -> None:
        # The host runs ahead of the device: without a limit all slices would be there before the first is used.
        self._computed.append(current.record_event())
        if len(self._computed) > self._in_flight:
            self._computed.pop(0).synchronize()


def runs_ahead(device: torch.device) -> bool:
    """Return whether the host queues work for the device and reads results later: only a CUDA device."""
    return device.type not in IN_ORDER


def read_together(tensors: Sequence[Tensor]) -> list[list[float]]:
    """Return the values of each tensor, flattened. One copy reads them all, so the host waits only once.

    Args:
        tensors: One or more tensors of any shape on one device. Integers are exact up to 2**24.
    """
    return _split(_joined(tensors), [tensor.numel() for tensor in tensors])


class PendingRead:
    """Values on their way from the device to the host.

    The host waits when it receives them, and only for the work that was queued before the read began; a plain read
    also waits for all work that was queued since.

    Args:
        tensors: As for `read_together`.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._sizes, values = [tensor.numel() for tensor in tensors], _joined(tensors)
        self._done: torch.cuda.Event | None = None
        if runs_ahead(values.device):
            # Into pinned memory, which PyTorch allocates here; into other memory the host would wait.
            values = values.to("cpu", non_blocking=True)
            self._done = torch.cuda.current_stream(tensors[0].device).record_event()
        self._values = values

    def receive(self) -> list[list[float]]:
        """Wait for the values and return those of each tensor, flattened."""
        if self._done is not None:
            self._done.synchronize()
        return _split(self._values, self._sizes)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Return all values in one tensor on the device."""
    # At least float32, which holds float16 and bfloat16 exactly; MPS has no wider type.
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return torch.cat([tensor.detach().flatten().to(dtype) for tensor in tensors])


def _split(joined: Tensor, sizes: Sequence[int]) -> list[list[float]]:
    values, result, start = joined.tolist(), [], 0
    for size in sizes:
        result.append(values[start : start + size])
        start += size
    return result
