"""The fast kernels of a processor are chosen by rule, and are as exact as the slow ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fitcli.device import processor
from fitcli.device.processor import cpu_fields, fast_float32, has_bf16_units
from fitcli.device.runtime import choose_runtime

WITH_UNITS = (
    "processor : 0\nvendor_id : AuthenticAMD\ncpu family : 26\nflags : fpu avx512f avx512_bf16\n\n"
    "processor : 1\nflags : none\n"
)
WITHOUT = "processor : 0\nvendor_id : GenuineIntel\nflags : fpu avx2\n"


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file in which the kernel describes the processor."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPU_INFO", path)
    for cached in (processor.cpu_fields, processor._prefers_onednn):
        cached.cache_clear()
    yield path
    for cached in (processor.cpu_fields, processor._prefers_onednn):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("content", "inference", "precision"),
    [(WITH_UNITS, True, "bf16"), (WITH_UNITS, False, "fp32"), (WITHOUT, True, "fp32"), (None, True, "fp32")],
    ids=["inference", "training", "no units", "unknown"],
)
def test_automatic_precision(cpu: Path, content: str | None, inference: bool, precision: str) -> None:
    if content is not None:
        cpu.write_text(content)
    assert choose_runtime("cpu", inference=inference).precision == precision
    assert choose_runtime("cpu", "fp32", inference=inference).precision == "fp32"


@pytest.mark.parametrize("content", [WITH_UNITS, WITHOUT], ids=["oneDNN", "MKL"])
@pytest.mark.parametrize("shape", [(256, 192, 576), (33, 1280, 320), (7, 12, 24)])
def test_fast_float32_is_float32(cpu: Path, content: str, shape: tuple[int, int, int]) -> None:
    cpu.write_text(content)
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(rows, inner, generator=generator), torch.randn(columns, inner, generator=generator)
    with fast_float32():
        product = torch.nn.functional.linear(x, weight)
    exact = x.double() @ weight.double().mT
    assert (product.double() - exact).norm() < 2e-6 * exact.norm()


def test_the_setting_is_put_back(cpu: Path) -> None:
    cpu.write_text(WITH_UNITS)
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("PyTorch has this setting from 2.9 on")
    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(KeyError), fast_float32():
        raise KeyError
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_what_rounds_to_bf16_is_not_taken_for_float32(cpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu.write_text(WITH_UNITS)
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("PyTorch has this setting from 2.9 on")
    linear = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, w: linear(x.bfloat16(), w.bfloat16()).float())
    assert not processor._prefers_onednn()


def test_only_the_first_core_counts(cpu: Path) -> None:
    cpu.write_text(WITH_UNITS)
    assert cpu_fields()["flags"] == "fpu avx512f avx512_bf16"
    assert has_bf16_units()


def test_a_machine_without_the_file_has_no_units(cpu: Path) -> None:
    assert cpu_fields() == {}
    assert not has_bf16_units()
