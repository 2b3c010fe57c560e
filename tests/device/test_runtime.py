"""The device and the precision are those that were asked for, and each process has a device of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.fake_cuda import CudaMachine, cuda_machine
from support.pictures import colored

from fitcli.device.runtime import Precision, Runtime, choose_runtime, claim_device
from fitcli.errors import DeviceError
from fitcli.images.array_image import ArrayReader
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_run


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_half_precision_gives_the_classes_of_fp32(trained: Path, half: Precision) -> None:
    """`--precision auto` may take 16 bits since the class stays the same, and probabilities stay within 0.01."""
    results = {}
    for precision in ("fp32", half):
        runtime = Runtime(torch.device("cpu"), precision)
        checkpoint = load_run(trained, runtime, CLASSIFY)
        images = [
            ArrayReader(colored(size, color, seed))
            for seed, (size, color) in enumerate(
                [((300, 600), (40, 60, 200)), ((128, 128), (200, 60, 40)), ((50, 700), (130, 60, 110))]
            )
        ]
        results[precision] = [classify_image(checkpoint, image, runtime).probabilities for image in images]
    for exact, fast in zip(results["fp32"], results[half], strict=True):
        assert exact.argmax() == fast.argmax()
        assert abs(exact - fast).max() < 0.01


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    with cuda_machine(monkeypatch) as made:
        yield made


@pytest.mark.parametrize(
    ("has_bf16", "inference", "precision"),
    [(True, False, "bf16"), (True, True, "bf16"), (False, True, "fp16"), (False, False, "fp32")],
)
def test_auto_is_the_fastest_that_a_gpu_computes_itself(
    machine: CudaMachine, has_bf16: bool, inference: bool, precision: str
) -> None:
    machine.has_bf16 = has_bf16
    for float32_on_cpu in (False, True):
        chosen = choose_runtime("cuda", inference=inference, float32_on_cpu=float32_on_cpu)
        assert chosen.precision == precision
    assert choose_runtime("cuda", "fp32", inference=inference).precision == "fp32"


@pytest.mark.parametrize("inference", [False, True])
def test_bf16_is_refused_where_it_is_emulated(machine: CudaMachine, inference: bool) -> None:
    assert choose_runtime("cuda", "bf16", inference=inference).precision == "bf16"
    machine.has_bf16 = False
    with pytest.raises(DeviceError, match=r"bf16: this GPU only emulates it.*; use --precision fp32, or auto"):
        choose_runtime("cuda", "bf16", inference=inference)


@pytest.mark.parametrize("name", ["gpu", "xpu", "cpu:x", ""])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"--device {name}: unknown; use auto, cpu, cuda, cuda:N or mps"):
        choose_runtime(name)


def test_mps_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(DeviceError, match="--precision bf16: not supported on mps; use --precision fp32"):
        choose_runtime("mps", "bf16")
    assert choose_runtime("mps").precision == "fp32"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_products_have_the_precision(precision: Precision, dtype: torch.dtype) -> None:
    x = torch.ones(2, 3)
    with Runtime(torch.device("cpu"), precision).autocast():
        assert F.linear(x, x).dtype == dtype
    assert F.linear(x, x).dtype == torch.float32


def test_peak_memory_grows_with_tensors_and_never_shrinks() -> None:
    code = """
import torch
from fitcli.device.runtime import choose_runtime
runtime = choose_runtime("cpu")
before = runtime.peak_bytes()
# Linux hands the peak of the parent down to this process, so the tensor is larger than that.
tensor = torch.ones(before + 50_000_000, dtype=torch.uint8)
print(before, tensor.nbytes, runtime.peak_bytes())
del tensor
print(runtime.peak_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, size, peak, after = map(int, done.stdout.split())
    assert size < peak < before + size + 50_000_000
    assert after == peak


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A machine with two CUDA devices; the devices that were made the current one."""
    current: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_gets_a_device_of_its_own(two_devices: list[object], name: str) -> None:
    assert [claim_device(name, rank, 2) for rank in range(2)] == ["cuda", "cuda"]
    assert two_devices == [0, 1]


def test_one_process_may_name_its_device(two_devices: list[object]) -> None:
    assert claim_device("cuda:1", 0, 1) == "cuda"
    assert two_devices == [torch.device("cuda:1")]


@pytest.mark.parametrize(
    ("name", "processes", "message"),
    [
        ("cuda:1", 2, "--device cuda:1: 2 processes cannot share it; use --device cuda"),
        ("auto", 3, "3 processes on this machine, but 2 CUDA devices; .* --nproc-per-node 2"),
        ("cuda:2", 1, r"--device cuda:2: not on this machine \(2 CUDA devices found\)"),
    ],
)
def test_processes_without_a_device_are_refused(
    two_devices: list[object], name: str, processes: int, message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        claim_device(name, 0, processes)
    assert two_devices == []


def test_any_number_of_processes_share_a_cpu() -> None:
    assert {claim_device("cpu", rank, 9) for rank in range(9)} == {"cpu"}


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_only_fp16_overflows(value: float) -> None:
    values = torch.tensor([1.0, value])
    for precision in ("fp32", "bf16"):
        Runtime(torch.device("cpu"), precision).check_overflow(values)  # type: ignore[arg-type]
    half = Runtime(torch.device("cpu"), "fp16")
    half.check_overflow(values[:1])
    with pytest.raises(DeviceError, match="too large for fp16; use --precision fp32"):
        half.check_overflow(values)
