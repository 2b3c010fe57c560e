"""Stores the tokens of all groups while only a handful of groups is on the device.

A store holds a tensor [g n c]. Callers put and get slices of its groups.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import torch
from torch import Tensor

from fitcli.device.transfer import DeviceCopies
from fitcli.errors import FitError, OutOfMemory
from fitcli.files.scratch import write_all
from fitcli.files.write_errors import FULL_DISK, reason_and_advice

StoreKind = Literal["device", "host", "disk"]
"""Where tokens rest: on the device that computes, in the memory of the host, or in a file."""

PIECE_BYTES = 1 << 26
"""Bytes of each piece of pinned memory. PyTorch rounds each allocation up to a power of two: in one piece the tokens
could take twice their size."""


class TokenStore(ABC):
    """A store of tokens [g n c]. The tokens of a group are undefined until they are put.

    Leaving the context, or `close`, releases everything, also after an error.

    Attributes:
        ahead: Number of calls of `fetch` that may run early, in another thread; 0 if `fetch` does nothing.
    """

    ahead = 0

    @abstractmethod
    def put(self, part: slice, tokens: Tensor) -> None:
        """Copy the tokens [part n c] of a slice of the groups into the store."""

    def fetch(self, part: slice) -> Tensor | None:
        """Run the part of `get` that does not need the device; return None if there is no such part."""
        return None

    @abstractmethod
    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        """Return a copy of the tokens [part n c] of a slice of the groups, on the device that computes.

        Args:
            part: Slice of the groups.
            fetched: Result of `fetch` for the same slice; None if it was not called.
        """

    @abstractmethod
    def close(self) -> None:
        """Release memory and files. Idempotent."""

    def flush(self) -> None:  # noqa: B027
        """Wait until the tokens are on disk, if the store is one that outlives this process."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class MemoryStore(TokenStore):
    """A store in memory: of the device that computes, or of the host (pinned for a CUDA device).

    Args:
        shape: (g, n, c) of all tokens.
        dtype: Type of the stored tokens.
        device: Device that computes.
        on_device: Whether the tokens rest on that device rather than on the host.

    Raises:
        OutOfMemory: There is not enough memory.
    """

    def __init__(
        self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device, on_device: bool = False
    ) -> None:
        self._device, self._empty = device, torch.empty((0, *shape[1:]), dtype=dtype)
        pinned, where = not on_device and device.type == "cuda", device if on_device else torch.device("cpu")
        group_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._length = max(1, PIECE_BYTES // max(1, group_bytes) if pinned else shape[0])
        lengths = [min(self._length, shape[0] - start) for start in range(0, shape[0], self._length)]
        try:
            self._pieces: list[Tensor] | None = [
                torch.empty((length, *shape[1:]), dtype=dtype, device=where, pin_memory=pinned) for length in lengths
            ]
        except RuntimeError as error:
            raise OutOfMemory(
                f"cannot allocate {_size(shape, dtype)} of {'device' if on_device else 'host'} memory for tokens at "
                f"rest ({str(error).splitlines()[0]}); give a smaller --memory, so that they rest on disk"
            ) from error
        self._copies = DeviceCopies(device) if pinned else None

    def put(self, part: slice, tokens: Tensor) -> None:
        for some, slot in self._slots(part):
            values = tokens[some.start - part.start : some.stop - part.start]
            if self._copies is None:
                slot.copy_(values)
            else:
                self._copies.to_host(some, values, slot)

    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        pieces = [
            slot.to(self._device, copy=True) if self._copies is None else self._copies.to_device(slot, some, number > 0)
            for number, (some, slot) in enumerate(self._slots(part))
        ]
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat(pieces) if pieces else self._empty.to(self._device)

    def close(self) -> None:
        if self._copies is not None:
            self._copies.wait()
        self._pieces = None

    def _slots(self, part: slice) -> Iterator[tuple[slice, Tensor]]:
        """Yield, for each piece that holds groups of a slice, the slice of these groups and their memory."""
        assert self._pieces is not None, "the store is closed"
        start = part.start
        while start < part.stop:
            number, first = divmod(start, self._length)
            stop = min(part.stop, start - first + self._length)
            yield slice(start, stop), self._pieces[number][first : first + stop - start]
            start = stop


class DiskStore(TokenStore):
    """A store in a file. It is read and written at offsets, not mapped, so it does not count as memory of this process.

    Args:
        shape: (g, n, c) of all tokens.
        dtype: Type of the stored tokens.
        device: Device that computes.
        folder: Folder of a temporary file, which has no name and vanishes with this process, however that ends.
        path: File to keep instead of a temporary one. An existing file is opened with its contents, and `close` does
            not remove it.

    Raises:
        FitError: The file cannot be created, or the disk has no room for all tokens.
    """

    ahead = 1

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        device: torch.device,
        folder: Path | None = None,
        path: Path | None = None,
    ) -> None:
        self._shape, self._dtype, self._device = shape, dtype, device
        self._copies = DeviceCopies(device) if device.type == "cuda" else None
        self._folder = path.parent if path is not None else folder or default_folder()
        self._advice = "set TMPDIR to" if path is None else "keep the state in"
        self._group_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._check_space(0 if path is None or not path.exists() else path.stat().st_blocks * 512)
        try:
            if path is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, prefix="fit-", buffering=0)  # noqa: SIM115
            else:
                self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        except OSError as error:
            raise self._error(error) from error

    def put(self, part: slice, tokens: Tensor) -> None:
        data = tokens.to("cpu", self._dtype).contiguous()
        try:
            write_all(self._file.fileno(), bytes_of(data), part.start * self._group_bytes)
        except OSError as error:
            raise self._error(error) from error

    def fetch(self, part: slice) -> Tensor:
        tokens = torch.empty(
            part.stop - part.start, *self._shape[1:], dtype=self._dtype, pin_memory=self._device.type == "cuda"
        )
        rest, offset = bytes_of(tokens), part.start * self._group_bytes
        while rest:
            count = os.preadv(self._file.fileno(), [rest], offset)
            if count == 0:
                raise FitError(f"{self._folder}: the file of tokens at rest is truncated; start again")
            rest, offset = rest[count:], offset + count
        return tokens

    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        tokens = self.fetch(part) if fetched is None else fetched
        return tokens.to(self._device) if self._copies is None else self._copies.to_device(tokens)

    def flush(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        self._file.close()

    def _check_space(self, present_bytes: int) -> None:
        """Raise FitError if the disk is too small, before hours of work rather than after.

        Args:
            present_bytes: Bytes of the disk that the file takes already.
        """
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise self._error(error) from error
        if free < math.prod(self._shape) * self._dtype.itemsize - present_bytes:
            raise self._error(OSError(errno.ENOSPC, f"only {free / 1e9:,.1f} GB are free"))

    def _error(self, error: OSError) -> FitError:
        needed = f"{self._folder}: {_size(self._shape, self._dtype)} are needed here for tokens at rest"
        if error.errno == errno.EFBIG:
            return FitError(f"{needed}: {'; '.join(reason_and_advice(error))}")
        if error.errno in FULL_DISK:
            why = "the disk is full" if error.strerror is None else error.strerror
            return FitError(f"{needed}: {why}; free some space or {self._advice} a larger disk")
        return FitError(f"{needed}: {error.strerror or error}; {self._advice} a folder that can be written")


def open_store(
    kind: StoreKind,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    device: torch.device,
    folder: Path | None = None,
    path: Path | None = None,
) -> TokenStore:
    """Open a store of a kind for tokens [g n c] of `dtype` that are computed on `device`.

    Args:
        folder, path: Place of the file of a "disk" store, see `DiskStore`.

    Raises:
        FitError: There is not enough room.
    """
    if kind == "disk":
        return DiskStore(shape, dtype, device, folder, path)
    return MemoryStore(shape, dtype, device, on_device=kind == "device")


def default_folder() -> Path:
    """Return the folder for large temporary files: `TMPDIR`, or `/var/tmp`, which unlike `/tmp` is never in memory."""
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return Path("/var/tmp")
    return Path(tempfile.gettempdir())


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the host, of any dtype."""
    return memoryview(tensor.flatten().view(torch.uint8).numpy())  # type: ignore[arg-type]


def _size(shape: tuple[int, int, int], dtype: torch.dtype) -> str:
    return f"{math.prod(shape) * dtype.itemsize / 1e9:,.2f} GB"
