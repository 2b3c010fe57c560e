"""Detects the features of the processor, and selects the PyTorch kernels that are fast on it. Linux on x86 only.

The choice follows fixed rules and no timings: two runs of a job on one machine must not differ in their last bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")

ZEN_5 = 26
"""First family of AMD processors whose vector units are as wide as AVX-512."""

FLOAT32_ERROR = 1e-6
"""Largest relative error of a matrix product that counts as float32. Rounding its factors to bf16 would give 3e-3."""


@cache
def cpu_fields() -> dict[str, str]:
    """Return what the kernel reports about the first core, such as "vendor_id" and "flags"; else an empty dict."""
    try:
        first = CPU_INFO.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_bf16_units() -> bool:
    """Return whether matrix products are faster in bf16 than in float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(cpu_fields().get("flags", "").split()))


@contextlib.contextmanager
def fast_float32() -> Iterator[None]:
    """Compute float32 matrix products with oneDNN inside the context, if it is faster than MKL and as exact."""
    if not _prefers_onednn():
        yield
        return
    with onednn():
        yield


@cache
def _prefers_onednn() -> bool:
    """Return whether oneDNN is faster than MKL for float32, and as exact.

    MKL does not use the full width of AVX-512 on AMD processors. Zen 5 loses a third of its speed by that; Zen 4, whose
    units are half as wide, loses nothing (docs/performance.md).

    The setting that selects oneDNN also permits it to round to bf16. It rounds only with matrix units (AMX), which only
    Intel processors have; a product is computed to make sure.
    """
    fields = cpu_fields()
    family = fields.get("cpu family", "")
    if fields.get("vendor_id") != "AuthenticAMD" or not family.isdecimal() or int(family) < ZEN_5:
        return False
    # PyTorch has this setting for oneDNN alone from version 2.9 on.
    return hasattr(torch.backends.mkldnn, "matmul") and _error_of_onednn() < FLOAT32_ERROR


@contextlib.contextmanager
def onednn() -> Iterator[None]:
    """Compute float32 matrix products with oneDNN inside the context. PyTorch 2.9 or later."""
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _error_of_onednn() -> float:
    """Return the relative error of a matrix product of the size of a small layer."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator) for shape in ((256, 192), (576, 192)))
    with onednn():
        product = torch.nn.functional.linear(x, weight).double()
    exact = x.double() @ weight.double().T
    return float((product - exact).norm() / exact.norm())
