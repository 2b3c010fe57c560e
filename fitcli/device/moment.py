"""Points in the work of a device, for measuring the time of steps without waiting for each.

The clock of the host shows when work was queued, not when a CUDA device did it.
"""

from __future__ import annotations

import time

import torch

from fitcli.device.transfer import runs_ahead


class Moment:
    """The moment at which a device has done all work that is queued on the current stream.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self._host, self._event = time.perf_counter(), None
        if runs_ahead(device):
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            self._event = torch.cuda.current_stream(device).record_event(event)

    def seconds_since(self, earlier: Moment) -> float:
        """Wait for this moment, and return the time from an earlier one of the same device until this one."""
        if self._event is None or earlier._event is None:
            return self._host - earlier._host
        self._event.synchronize()
        milliseconds: float = earlier._event.elapsed_time(self._event)
        return milliseconds / 1000
