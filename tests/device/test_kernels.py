"""Attention kernels have no plan per shape, float32 is one arithmetic, and a device that cannot compute is one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.fake_cuda import SDP, CudaMachine, cuda_machine

from fitcli.device.kernels import ATTENTION
from fitcli.device.runtime import choose_runtime
from fitcli.errors import DeviceError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    with cuda_machine(monkeypatch) as made:
        yield made


def enabled() -> dict[str, bool]:
    return {name: getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in SDP}


def test_cudnn_attention_is_off_on_cuda(machine: CudaMachine) -> None:
    for name in SDP:
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(name == "cudnn")
    choose_runtime("cpu")
    assert enabled() == {name: name == "cudnn" for name in SDP}
    choose_runtime("cuda")
    assert enabled() == ATTENTION == {"flash": True, "mem_efficient": True, "math": True, "cudnn": False}


@pytest.mark.parametrize(("products", "rounds"), [("none", False), ("ieee", False), ("tf32", True)])
def test_convolutions_round_as_products_do(machine: CudaMachine, products: str, rounds: bool) -> None:
    backends: Any = torch.backends
    backends.cuda.matmul.fp32_precision, backends.cudnn.allow_tf32 = products, not rounds
    choose_runtime("cuda")
    assert (backends.cudnn.conv.fp32_precision == "tf32") == rounds
    # The compiler reads the older setting, which must agree with the newer ones.
    assert backends.cudnn.allow_tf32 == rounds


def test_a_kernel_is_run_before_any_work(machine: CudaMachine) -> None:
    choose_runtime("cpu")
    assert machine.launches == 0
    choose_runtime("auto")
    assert machine.launches == 1


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\nMore."),
            "update",
        ),
        (RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."), "update its driver"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB."), "wait until other processes are"),
        (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be"), "wait until other"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "wait until other processes are done"),
    ],
)
def test_a_device_that_cannot_compute_is_one_line(machine: CudaMachine, error: Exception, advice: str) -> None:
    machine.error = error
    with pytest.raises(DeviceError, match=f"--device cuda:0: cannot compute .*; {advice}") as refused:
        choose_runtime("cuda:0")
    assert "\n" not in str(refused.value)
    assert str(error).splitlines()[0] in str(refused.value)


def test_a_driver_that_pytorch_cannot_start_is_one_line(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver lists a device, but is too old: PyTorch says that there is none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("auto", "cuda"):
        with pytest.raises(
            DeviceError, match=f"--device {name}: PyTorch cannot use the GPU; update its driver, or use"
        ):
            choose_runtime(name)
    assert choose_runtime("cpu").device.type == "cpu"
