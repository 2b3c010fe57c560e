"""Within a memory limit, the libraries keep no kernel per shape: memory does not grow with the sizes of the images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.peak_memory import MIB, run_apart
from support.pictures import colored, save
from support.processes import NEEDS_PROC

from fitcli.device import runtime
from fitcli.device.kernel_cache import CAPACITIES, limit_kernel_caches
from fitcli.device.runtime import choose_runtime


@pytest.mark.more
@NEEDS_PROC
@pytest.mark.parametrize("precision", [pytest.param("fp32", marks=pytest.mark.slow), "bf16"])
def test_images_of_many_sizes_take_what_images_of_one_size_take(precision: str, trained: Path, tmp_path: Path) -> None:
    many = [tmp_path / f"{number}.png" for number in range(24)]
    for number, path in enumerate(many):
        save(path, colored((257 + 9 * number, 489 - 9 * number), (60, 80, 70), number))
    one = tmp_path / "one.png"
    save(one, colored((489, 489), (60, 80, 70), 0))
    options = ("--checkpoint", trained, "--memory", "80MiB", "--device", "cpu", "--precision", precision)
    (single, several) = (run_apart("classify", *paths, *options).peak_bytes for paths in ([one], many))
    assert several <= max(1.05 * single, single + 6 * MIB)
    assert several <= 80 * MIB


def test_only_a_limited_pass_on_a_cpu_pays_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(runtime, "limit_kernel_caches", lambda: calls.append(1))
    choose_runtime("cpu", inference=True)
    choose_runtime("cpu", memory_bytes=80 * MIB)
    assert not calls
    choose_runtime("cpu", inference=True, memory_bytes=80 * MIB)
    assert calls


def test_what_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    (one, other) = CAPACITIES
    monkeypatch.setenv(one, "77")
    monkeypatch.setenv(other, "")
    monkeypatch.delenv(other)
    limit_kernel_caches()
    assert os.environ[one] == "77"
    assert os.environ[other] == str(CAPACITIES[other])
    monkeypatch.delenv(other)
