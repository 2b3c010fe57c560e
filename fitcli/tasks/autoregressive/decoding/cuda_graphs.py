"""A function of tensors whose kernels are recorded and then launched all at once: CUDA graphs.

A token takes some hundred kernels of next to no work: the time goes into launching them. What is launched is the same,
and so is every bit of what comes out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class CaptureError(RuntimeError):
    """PyTorch cannot record a function here."""


class Recorder:
    """What the graphs of several functions share: the stream that they are recorded on, and their memory.

    They run one after the other, and what one leaves is copied before the next begins: so they can use the same memory.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, function: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """A graph of what a function does, and where it leaves its result.

        It is run once before, so that libraries allocate what they need outside of the graph.

        Raises:
            CaptureError: It does something that cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            # Not `torch.cuda.graph`: it empties the allocator's cache each time, and in some versions collects garbage.
            with torch.cuda.stream(self._stream):
                function()
                graph.capture_begin(self._pool, capture_error_mode="thread_local")
                try:
                    result = function()
                finally:
                    graph.capture_end()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise CaptureError(str(error).splitlines()[0]) from error
        current.wait_stream(self._stream)
        return graph, result

    def wait(self) -> None:
        """Return when all that was replayed is done: the graphs may go."""
        torch.cuda.current_stream(self._device).synchronize()


class Captured:
    """A function that is recorded the second time that it is called, and replayed from then on.

    Args:
        function: Of tensors of the same shapes and dtypes in every call, to one tensor. Besides them it may use memory
            that stays where it is, and it may write to that, if writing twice is like writing once. What it does must
            follow from shapes alone: it must not ask for values.
        recorder: Of this and other functions, none of which calls another.
    """

    def __init__(self, function: Callable[..., Tensor], recorder: Recorder) -> None:
        self._function, self._recorder = function, recorder
        self._called = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._result: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What the function gives.

        Raises:
            CaptureError: It cannot be recorded.
        """
        if not self._called:
            # Many are called once or twice only: recording them would take longer than it saves.
            self._called = True
            return self._function(*inputs)
        if self._graph is None:
            self._inputs = [values.clone() for values in inputs]
            self._graph, self._result = self._recorder.record(lambda: self._function(*self._inputs))
        for own, values in zip(self._inputs, inputs, strict=True):
            own.copy_(values)
        self._graph.replay()
        assert self._result is not None
        # The next replay writes to the same memory, which other functions share.
        return self._result.clone()
