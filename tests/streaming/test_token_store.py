"""Every store returns the tokens that were put into it, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fitcli.errors import FitError
from fitcli.streaming import token_store
from fitcli.streaming.token_store import DiskStore, MemoryStore, StoreKind, default_folder, open_store

CPU = torch.device("cpu")
SHAPE = (7, 3, 5)
KINDS: list[StoreKind] = ["device", "host", "disk"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_slices_come_back_as_they_were_put(kind: StoreKind, dtype: torch.dtype, tmp_path: Path) -> None:
    tokens = torch.randn(SHAPE).to(dtype)
    with open_store(kind, SHAPE, dtype, CPU, tmp_path) as store:
        for part in (slice(4, 7), slice(0, 1), slice(1, 4)):
            store.put(part, tokens[part])
        store.put(slice(2, 3), -tokens[2:3])
        tokens[2] *= -1
        store.flush()
        for part in (slice(0, 7), slice(1, 2), slice(3, 6)):
            assert torch.equal(store.get(part), tokens[part])


@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_in_and_out_is_a_copy(kind: StoreKind, tmp_path: Path) -> None:
    tokens = torch.randn(SHAPE)
    kept = tokens.clone()
    with open_store(kind, SHAPE, torch.float32, CPU, tmp_path) as store:
        store.put(slice(0, 7), tokens)
        tokens.zero_()
        store.get(slice(0, 7)).zero_()
        assert torch.equal(store.get(slice(0, 7)), kept)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_need_not_be_contiguous_nor_outside_inference_mode(kind: StoreKind, tmp_path: Path) -> None:
    with torch.inference_mode(), open_store(kind, SHAPE, torch.float32, CPU, tmp_path) as store:
        tokens = torch.randn(5, 3, 7).permute(2, 1, 0)
        store.put(slice(0, 7), tokens)
        assert torch.equal(store.get(slice(0, 7)), tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_twice_is_harmless(kind: StoreKind, tmp_path: Path) -> None:
    store = open_store(kind, SHAPE, torch.float32, CPU, tmp_path)
    store.close()
    store.close()


def test_a_file_on_disk_has_no_name(tmp_path: Path) -> None:
    with DiskStore(SHAPE, torch.float32, CPU, tmp_path) as store:
        store.put(slice(0, 7), torch.zeros(SHAPE))
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_kept_is_there_again(tmp_path: Path) -> None:
    tokens = torch.randn(SHAPE)
    for part in (slice(0, 4), slice(4, 7)):
        with DiskStore(SHAPE, torch.float32, CPU, path=tmp_path / "tokens") as store:
            store.put(part, tokens[part])
    with DiskStore(SHAPE, torch.float32, CPU, path=tmp_path / "tokens") as store:
        assert torch.equal(store.get(slice(0, 7)), tokens)


def test_a_disk_that_is_too_small_is_noticed_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(
        FitError, match=r"4,000,000\.00 GB are needed here for tokens at rest: only .* GB are free; free"
    ):
        DiskStore((10**9, 1000, 1000), torch.float32, CPU, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_an_error_that_says_what_was_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: memoryview, offset: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(token_store, "write_all", full)
    with DiskStore(SHAPE, torch.float32, CPU, tmp_path) as store, pytest.raises(FitError) as caught:
        store.put(slice(0, 1), torch.zeros(1, 3, 5))
    assert str(caught.value) == (
        f"{tmp_path}: 0.00 GB are needed here for tokens at rest: No space left on device; "
        "free some space or set TMPDIR to a larger disk"
    )


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"missing: .* No such file or directory; set TMPDIR"):
        DiskStore(SHAPE, torch.float32, CPU, tmp_path / "missing")


def test_too_much_memory_is_one_line() -> None:
    with pytest.raises(FitError, match="of host memory for tokens at rest"):
        MemoryStore((10**9, 10**4, 10**4), torch.float32, CPU)


def test_files_go_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("TMPDIR")
    assert default_folder() in (Path("/var/tmp"), Path("/tmp"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tokens_on_disk_take_no_memory(tmp_path: Path) -> None:
    code = f"""
import re, torch
from pathlib import Path
from fitcli.streaming.token_store import DiskStore
def resident(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
part = torch.ones(8, 256, 64)
before = resident()
with DiskStore((4096, 256, 64), torch.float32, torch.device("cpu"), Path({str(tmp_path)!r})) as store:
    for sweep in range(2):
        for start in range(0, 4096, 8):
            store.put(slice(start, start + 8), part)
            assert store.get(slice(start, start + 8)).sum() == part.sum()
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 32, "of 256 MiB"


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_copies_beside_the_computing_on_a_device(kind: StoreKind, tmp_path: Path) -> None:
    device, shape = torch.device("cuda"), (64, 256, 256)
    tokens, weight = torch.randn(shape, device=device), torch.randn(256, 256, device=device) / 16
    expected = tokens
    with open_store(kind, shape, torch.float32, device, tmp_path) as store:
        parts = [slice(start, start + 4) for start in range(0, 64, 4)]
        for part in parts:
            store.put(part, tokens[part].clone())
        for _ in range(5):
            expected = torch.cat([torch.tanh(expected[part] @ weight) for part in parts])
            for part in parts:
                store.put(part, torch.tanh(store.get(part) @ weight))
        for part in (*parts, slice(1, 30)):
            assert torch.equal(store.get(part), expected[part])
