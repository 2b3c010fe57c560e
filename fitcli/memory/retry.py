"""Runs a pass once more with less when memory runs out, and turns the second failure into one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

from fitcli.device.allocator import release_unused
from fitcli.errors import OutOfMemory, OverLimit, is_out_of_memory, out_of_memory_text

T = TypeVar("T")


class RestartableProgress:
    """Reports shares of work, and takes them back when the work begins again.

    Args:
        advance: Called with each share; negative if work is taken back.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance, self._done = advance, 0.0

    def __call__(self, share: float) -> None:
        """Report a share of the work."""
        self._done += share
        self._advance(share)

    def restart(self) -> None:
        """Take back everything that was reported."""
        if self._done:
            self(-self._done)


def with_less(device: torch.device, run: Callable[[int], T], amount: int) -> T:
    """Run a pass, and if memory runs out, once more with half as much at a time.

    Args:
        device: Device that computes.
        run: Runs the pass with an amount: groups of a handful, or images of a batch. It may run twice.
        amount: Amount of the first run; 1 cannot be halved.

    Raises:
        OutOfMemory: Memory ran out for the last time. Its traceback keeps no tensors alive.
    """
    try:
        return run(amount)
    except (RuntimeError, MemoryError, OutOfMemory) as error:
        if not is_out_of_memory(error):
            raise
        text = out_of_memory_text(error)
    # Outside of the except clause, because the traceback refers to the tensors that filled the memory.
    release_unused(device)
    if amount > 1:
        try:
            return run(amount // 2)
        except (RuntimeError, MemoryError, OutOfMemory) as error:
            if not is_out_of_memory(error):
                raise
            text = out_of_memory_text(error)
        release_unused(device)
    raise OutOfMemory(text)


@contextmanager
def one_line(path: Path | None = None) -> Iterator[None]:
    """Turn memory that runs out inside the context into an error of one line, which names the image if there is one.

    It is no ImageError: the file is as good as others.

    Raises:
        OutOfMemory: Memory ran out; OverLimit stays what it is.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OutOfMemory) as error:
        if not is_out_of_memory(error):
            raise
        text, needed = out_of_memory_text(error), error.needed_bytes if isinstance(error, OverLimit) else None
    else:
        return
    text = text if path is None else f"{path}: {text.removeprefix(f'{path}: ')}"
    raise OutOfMemory(text) if needed is None else OverLimit(text, needed)
