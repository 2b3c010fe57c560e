"""What is chosen for which processor, and that fast is as exact as slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.pictures import colored

from fitcli.device import processor
from fitcli.device.processor import fast_float32
from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.runs.weights import load_classifier
from fitcli.tasks.classify.classify_image import classify_image

WITH_UNITS = (
    "processor : 0\nvendor_id : AuthenticAMD\ncpu family : 26\nflags : fpu avx512f avx512_bf16\n\n"
    "processor : 1\nflags : none\n"
)
WITHOUT = "processor : 0\nvendor_id : GenuineIntel\nflags : fpu avx2\n"


@pytest.fixture
def cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the kernel says of the processor."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "CPU_INFO", path)
    for cached in (processor.cpu_fields, processor._prefers_onednn):
        cached.cache_clear()
    yield path
    for cached in (processor.cpu_fields, processor._prefers_onednn):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("said", "inference", "precision"),
    [(WITH_UNITS, True, "bf16"), (WITH_UNITS, False, "fp32"), (WITHOUT, True, "fp32"), (None, True, "fp32")],
    ids=["inference", "training", "no units", "unknown"],
)
def test_automatic_precision(cpu: Path, said: str | None, inference: bool, precision: str) -> None:
    if said is not None:
        cpu.write_text(said)
    assert choose_runtime("cpu", inference=inference).precision == precision
    assert choose_runtime("cpu", "fp32", inference=inference).precision == "fp32"


@pytest.mark.parametrize("said", [WITH_UNITS, WITHOUT], ids=["oneDNN", "MKL"])
@pytest.mark.parametrize("shape", [(256, 192, 576), (33, 1280, 320), (7, 12, 24)])
def test_fast_float32_is_float32(cpu: Path, said: str, shape: tuple[int, int, int]) -> None:
    cpu.write_text(said)
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(rows, inner, generator=generator), torch.randn(columns, inner, generator=generator)
    with fast_float32():
        found = torch.nn.functional.linear(x, weight)
    exact = x.double() @ weight.double().mT
    assert (found.double() - exact).norm() < 2e-6 * exact.norm()


def test_the_setting_is_put_back(cpu: Path) -> None:
    cpu.write_text(WITH_UNITS)
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this PyTorch has no such setting")
    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(KeyError), fast_float32():
        raise KeyError
    assert torch.backends.mkldnn.matmul.fp32_precision == before


def test_what_rounds_to_bf16_is_not_taken_for_float32(cpu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu.write_text(WITH_UNITS)
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this PyTorch has no such setting")
    linear = torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, w: linear(x.bfloat16(), w.bfloat16()).float())
    assert not processor._prefers_onednn()


def test_bf16_says_the_same_as_fp32(trained: Path) -> None:
    """The tolerance within which `--precision auto` takes bf16: the same class, and probabilities within 0.01."""
    found = {}
    for precision in ("fp32", "bf16"):
        runtime = choose_runtime("cpu", precision)
        checkpoint = load_classifier(trained, runtime)
        images = [
            ArrayReader(colored(size, color, seed))
            for seed, (size, color) in enumerate(
                [((300, 600), (40, 60, 200)), ((128, 128), (200, 60, 40)), ((50, 700), (130, 60, 110))]
            )
        ]
        found[precision] = [classify_image(checkpoint, image, runtime).probabilities for image in images]
    for exact, fast in zip(found["fp32"], found["bf16"], strict=True):
        assert exact.argmax() == fast.argmax()
        assert abs(exact - fast).max() < 0.01
