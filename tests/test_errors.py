"""Errors are one line, and no text in them can control a terminal."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from fitcli.errors import (
    CheckpointError,
    DataError,
    DeviceError,
    FitError,
    ImageError,
    OutOfMemory,
    is_out_of_memory,
    out_of_memory_text,
    plain,
)

NASTY = "a\x1b]0;title\x07\x1b[31mb\x9bc\rd\u2028e\u202egnp.tif"
SHOWN = r"a\x1b]0;title\x07\x1b[31mb\x9bc\rd\u2028e\u202egnp.tif"


@pytest.mark.parametrize("text", ["", "scan 1.tif", "Größe µm", "鳥.png", "👩‍🔬.tif", "1\u00a0000.tif", "[red]a[/red]"])
def test_letters_signs_and_spaces_stay(text: str):
    assert plain(text) == text


def test_what_moves_the_cursor_ends_a_line_or_turns_it_around_is_shown():
    assert plain(NASTY + "\n\udcff") == SHOWN + r"\n\udcff"


def test_an_error_about_an_image_is_one_line():
    error = ImageError(Path("new\nline\x1b[2J.tif"), "is no image")
    assert str(error) == r"new\nline\x1b[2J.tif: is no image"
    assert error.path == Path("new\nline\x1b[2J.tif")
    assert error.reason == "is no image"


def test_an_error_about_an_image_survives_pickling():
    copy = pickle.loads(pickle.dumps(ImageError("a.tif", "is no image")))
    assert (str(copy), copy.path, copy.reason) == ("a.tif: is no image", Path("a.tif"), "is no image")


@pytest.mark.parametrize("kind", [ImageError, DataError, CheckpointError, DeviceError, OutOfMemory])
def test_every_error_of_the_user_is_a_fit_error(kind: type[FitError]):
    assert issubclass(kind, FitError)
    assert not kind.shared


EXHAUSTED = [
    (MemoryError(), "cpu"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you"), "cpu"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore."), "cuda"),
    (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"), "cuda"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "cuda"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), "cuda"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "cuda"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "cuda"),
    (torch.distributed.DistBackendError("NCCL error in: x.cpp:1, unhandled cuda error\nCuda failure 2 'out of memory'"),
     "cuda"),
    (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "mps"),
]  # fmt: skip
"""Errors that mean that memory ran out, and where."""

OTHERS = [
    torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("NCCL error in: x.cpp:1, remote process exited or there was a network error"),
    ValueError("can't allocate memory"),
    FitError("the image is out of memory of anyone"),
]


@pytest.mark.parametrize(("error", "device"), EXHAUSTED, ids=[str(error)[:40] for error, _ in EXHAUSTED])
def test_every_library_that_runs_out_of_memory_is_known(error: Exception, device: str) -> None:
    assert is_out_of_memory(error)
    text = out_of_memory_text(error)
    assert text.startswith(f"out of memory on {device} (")
    assert "\n" not in text
    assert is_out_of_memory(OutOfMemory(text))
    assert out_of_memory_text(OutOfMemory(text)) == text


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_are_not_for_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
