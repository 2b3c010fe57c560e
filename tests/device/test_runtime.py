"""The device and the precision are those that were asked for, and each process has a device of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support.pictures import colored

from fitcli.device.runtime import choose_runtime, claim_device
from fitcli.errors import DeviceError
from fitcli.images.array_image import ArrayReader
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.load import load_run


def test_bf16_gives_the_classes_of_fp32(trained: Path) -> None:
    """`--precision auto` may take bf16 since the class stays the same, and probabilities stay within 0.01."""
    results = {}
    for precision in ("fp32", "bf16"):
        runtime = choose_runtime("cpu", precision)
        checkpoint = load_run(trained, runtime, CLASSIFY)
        images = [
            ArrayReader(colored(size, color, seed))
            for seed, (size, color) in enumerate(
                [((300, 600), (40, 60, 200)), ((128, 128), (200, 60, 40)), ((50, 700), (130, 60, 110))]
            )
        ]
        results[precision] = [classify_image(checkpoint, image, runtime).probabilities for image in images]
    for exact, fast in zip(results["fp32"], results["bf16"], strict=True):
        assert exact.argmax() == fast.argmax()
        assert abs(exact - fast).max() < 0.01


@pytest.mark.parametrize("name", ["gpu", "xpu", "cpu:x", ""])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"--device {name}: unknown; use auto, cpu, cuda, cuda:N or mps"):
        choose_runtime(name)


def test_mps_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(DeviceError, match="--precision bf16: not supported on mps; use --precision fp32"):
        choose_runtime("mps", "bf16")
    assert choose_runtime("mps").precision == "fp32"


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_products_have_the_precision(precision: str, dtype: torch.dtype) -> None:
    x = torch.ones(2, 3)
    with choose_runtime("cpu", precision).autocast():
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
