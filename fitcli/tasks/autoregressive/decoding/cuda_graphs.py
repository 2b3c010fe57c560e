"""Records the kernels of a function as a CUDA graph and replays them with a single launch.

A token takes about a hundred tiny kernels, so most of the time goes into launching them. A replay runs the same kernels
and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fitcli.errors import is_out_of_memory


class CaptureError(RuntimeError):
    """PyTorch cannot record a function."""


class Recorder:
    """The stream and the memory that the graphs of several functions share.

    The graphs can share memory because they run one after the other, and each result is copied before the next replay.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, function: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Record a function.

        The function runs once before, so that libraries allocate their memory outside the graph.

        Returns:
            The graph, and the tensor that holds the result after a replay.

        Raises:
            CaptureError: The function does something that cannot be recorded.
        """
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            # `torch.cuda.graph` would empty the cache of the allocator each time, and collect garbage in some versions.
            with torch.cuda.stream(self._stream):
                function()
                graph.capture_begin(self._pool, capture_error_mode="thread_local")
                try:
                    result = function()
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise CaptureError(str(error).splitlines()[0]) from error
        current.wait_stream(self._stream)
        return graph, result

    def wait(self) -> None:
        """Wait until all replays are finished, so that the graphs can be deleted."""
        torch.cuda.current_stream(self._device).synchronize()


class RecordedFunction:
    """A function that is recorded at its second call and replayed from then on.

    Args:
        function: Maps tensors, of the same shapes and dtypes in every call, to one tensor. It may also read and write
            memory at fixed addresses, but must be idempotent: the recording call runs it twice. Its kernels must depend
            on shapes only, so it must not read values of tensors.
        recorder: Recorder shared with other functions, none of which calls another.
    """

    def __init__(self, function: Callable[..., Tensor], recorder: Recorder) -> None:
        self._function, self._recorder = function, recorder
        self._called = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._result: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return the result of the function, in memory of its own.

        Raises:
            CaptureError: The function cannot be recorded.
        """
        if not self._called:
            # A function that is called once only is not worth a recording.
            self._called = True
            return self._function(*inputs)
        if self._graph is None:
            self._inputs = [values.clone() for values in inputs]
            self._graph, self._result = self._recorder.record(lambda: self._function(*self._inputs))
        for own, values in zip(self._inputs, inputs, strict=True):
            own.copy_(values)
        self._graph.replay()
        assert self._result is not None
        # The next replay overwrites the result, also one of another function of the recorder.
        return self._result.clone()
