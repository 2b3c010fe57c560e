"""What is known of the processor: which units it has, and which of the ways of PyTorch are fast on it. Linux on x86.

By rule, not by a stopwatch: two runs of the same job on one machine must not differ in their last bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")

ZEN_5 = 26
"""Family of the processors of AMD that have units as wide as AVX-512."""

FLOAT32_ERROR = 1e-6
"""Largest relative error of a product that counts as float32: rounding factors to bf16 would give 3e-3."""


@cache
def cpu_fields() -> dict[str, str]:
    """What the kernel says of the first core, such as "vendor_id" and "flags"; nothing where it says nothing."""
    try:
        first = CPU_INFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_bf16_units() -> bool:
    """Whether products in bf16 are faster than in float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(cpu_fields().get("flags", "").split()))


@contextlib.contextmanager
def fast_float32() -> Iterator[None]:
    """Within, products of float32 matrices are computed by oneDNN where that is faster than MKL, and as exact."""
    if not _prefers_onednn():
        yield
        return
    with onednn():
        yield


@cache
def _prefers_onednn() -> bool:
    """MKL does not use the full width of AVX-512 on processors of AMD. Zen 5 loses a third of its speed by that; Zen 4,
    whose units are half as wide, loses nothing (docs/performance.md).

    The setting that leads to oneDNN also permits it to round to bf16. It does not without matrix units (AMX), which
    only processors of Intel have; but that is checked, not believed.
    """
    fields = cpu_fields()
    family = fields.get("cpu family", "")
    if fields.get("vendor_id") != "AuthenticAMD" or not family.isdecimal() or int(family) < ZEN_5:
        return False
    # Before PyTorch 2.9 there is no such setting for oneDNN alone.
    return hasattr(torch.backends.mkldnn, "matmul") and _error_of_onednn() < FLOAT32_ERROR


@contextlib.contextmanager
def onednn() -> Iterator[None]:
    """Within, PyTorch has oneDNN compute products of float32 matrices, where it knows how to (from 2.9 on)."""
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _error_of_onednn() -> float:
    """Relative, of a product of the size of a small layer."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((256, 192), (576, 192)))
    with onednn():
        found = torch.nn.functional.linear(x, weight).double()
    exact = x.double() @ weight.double().T
    return float((found - exact).norm() / exact.norm())
