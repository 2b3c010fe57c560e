"""Defines the errors that a user can cause and fix, and makes text safe to print on a terminal.

Every other exception is a bug in this project and keeps its traceback.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters (escape sequences start with one), surrogates and line separators."""

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text after them: they can make a name appear to end differently."""


def plain(text: str) -> str:
    """Return the text on one line, with control and direction characters as escapes: `\\x1b`, `\\n`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in CONTROL or c in DIRECTIONS else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUDA out of memory",
    "MPS backend out of memory",
    "HIP out of memory",
    "HIP error: out of memory",
    # Libraries that allocate beside PyTorch: for products, convolutions and attention, and for exchanges.
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",
    "HOST_ALLOCATION_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "'out of memory'",
)
"""Parts of the messages of RuntimeErrors that torch raises instead of an OutOfMemoryError. NCCL quotes the last one."""

DEVICES = {"cuda": ("CUDA", "CUBLAS", "CUDNN", "CUSOLVER", "NCCL", "HIP", "DEVICE_ALLOCATION"), "mps": ("MPS",)}
"""Words of messages that tell on which kind of device memory ran out; without any, it was the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on the host or on a device. Does not import torch."""
    kind = type(error)
    if isinstance(error, MemoryError | OutOfMemory) or (kind.__module__, kind.__name__) == (
        "torch",
        "OutOfMemoryError",
    ):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def out_of_memory_reason(error: BaseException) -> str:
    """Return the first line of the message of an error for which `is_out_of_memory` holds."""
    return first_line(error) if str(error).strip() else "the system has no more memory"


def out_of_memory_text(error: BaseException) -> str:
    """Return one line for an error for which `is_out_of_memory` holds: where memory ran out, and what to do."""
    if isinstance(error, OutOfMemory):
        return str(error)
    reason = out_of_memory_reason(error)
    device = next((name for name, words in DEVICES.items() if any(word in str(error) for word in words)), "cpu")
    return f"out of memory on {device} ({reason}); give --memory less than is free, or use a smaller model or image"


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error that is not empty; else the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class FitError(Exception):
    """Base of all errors that are printed as one line: what is wrong, with which file or option, and what to do.

    Attributes:
        shared: Whether every process of the job raises this error, so that the first one prints it.
    """

    shared = False


class ImageError(FitError, OSError):
    """An image cannot be opened, read or written.

    Attributes:
        path: The file or folder.
        reason: The problem, without the path.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(plain(f"{path}: {reason}"))

    def __reduce__(self) -> tuple[type[ImageError], tuple[Path, str]]:
        # OSError would rebuild it from the message alone when it is unpickled in another process.
        return type(self), (self.path, self.reason)


class UnreadableAs(ImageError):
    """An image cannot be read at the level or the scale that was chosen for all images of a command."""


class OutOfMemory(FitError):
    """A job needs more memory than there is, or than it may use. No file is to blame."""


class OverLimit(OutOfMemory):
    """A job needs more memory than it may use, which was known before it began.

    Attributes:
        needed_bytes: Memory with which it runs.
    """

    def __init__(self, text: str, needed_bytes: int) -> None:
        super().__init__(text)
        self.needed_bytes = needed_bytes


class DataError(FitError, ValueError):
    """A data set cannot be used: it is empty or contradictory, or names files that do not exist."""


class CheckpointError(FitError, ValueError):
    """A run folder cannot be used: it is missing or damaged, or does not fit the command."""


class DeviceError(FitError, RuntimeError):
    """The requested device or precision is not available on this machine."""
