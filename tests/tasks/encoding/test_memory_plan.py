"""A pass is planned within a limit, or within all free memory if nobody set one; a continued pass keeps its plan."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.fake_cuda import cuda_machine
from support.peak_memory import MIB, run_apart
from support.pictures import colored, save
from support.processes import NEEDS_PROC

from fitcli.device.allocator import CONTEXT_BYTES
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.errors import OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.memory import machine
from fitcli.memory.budget import Work
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding.memory_plan import encoding_work, plan_encoding
from fitcli.tasks.encoding.sample_pass import ENCODING
from fitcli.tasks.load import load_run

CPU = choose_runtime("cpu", "fp32")


@pytest.fixture
def work(trained: Path) -> Work:
    checkpoint = load_run(trained, CPU, CLASSIFY)
    image = ArrayReader(np.zeros((64, 64, 3), np.uint8))
    return encoding_work(checkpoint, image, ENCODING, 400, "fp32", keep_reads=False, finish_bytes=0, keep_state=False)


def test_a_larger_limit_computes_more_groups_together(work: Work) -> None:
    small, large = (plan_encoding(work, CPU, memory, None) for memory in (128 << 20, 2 << 30))
    assert sum(small.parts.values()) <= small.budget_bytes == 128 << 20
    assert 1 <= small.handful <= large.handful


def test_a_limit_that_is_too_low_is_no_fault_of_the_image(work: Work) -> None:
    with pytest.raises(OutOfMemory, match="400 groups need at least"):
        plan_encoding(work, CPU, 1000, None)


def test_without_a_limit_all_free_memory_may_be_used(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    free = sum(plan_encoding(work, CPU, 2 << 30, None).parts.values())
    monkeypatch.setattr(machine, "available_bytes", lambda: free)
    assert plan_encoding(work, CPU, None, None).budget_bytes in (free // 2, free)
    monkeypatch.setattr(machine, "available_bytes", lambda: 1000)
    with pytest.raises(OutOfMemory):
        plan_encoding(work, CPU, None, None)


def test_a_gpu_that_training_has_filled_has_room_for_a_validation(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver calls 60 MiB free; the allocator keeps 10 GiB for reuse. Weights and context count once."""
    cuda = Runtime(torch.device("cuda", 0), "bf16")
    with cuda_machine(monkeypatch) as device:
        device.free, device.reserved, device.allocated = 60 << 20, 15 << 30, 5 << 30
        plan = plan_encoding(work, cuda, None, None)
        assert plan.store == "device"
        assert plan.budget_bytes == int(0.9 * (60 * 2**20 + 10 * 2**30)) + work.weights_bytes + CONTEXT_BYTES
        # What a pass takes beside weights and context is enough.
        needed = sum(plan.parts.values()) - work.weights_bytes - CONTEXT_BYTES
        device.reserved, device.free = device.allocated, int(needed / 0.9) + 2
        assert plan_encoding(work, cuda, None, None).handful == plan.handful


def test_a_continued_pass_keeps_its_plan(work: Work, tmp_path: Path) -> None:
    plans = []
    for memory in (128 << 20, 2 << 30):
        state = FolderJournal(tmp_path / "state", {"purpose": "test"})
        try:
            plans.append(plan_encoding(work, CPU, memory, state))
        finally:
            state.close()
    assert plans[0] == plans[1]


@pytest.mark.more
@NEEDS_PROC
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "words",
    [
        ["classify"],
        pytest.param(["classify", "--heatmap", "maps"], marks=pytest.mark.slow),
        pytest.param(["embed", "--out", "features"], marks=pytest.mark.slow),
    ],
)
def test_the_budget_that_an_error_names_is_kept(
    words: list[str], precision: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shapes = [(257, 700), (640, 300), (671, 680)]
    images = [save(Path(f"{n}.png"), colored(shape, (60, 80, 70), n)) for n, shape in enumerate(shapes)]
    common = (*words, *images, "--checkpoint", trained, "--device", "cpu", "--precision", precision)
    refused = run_apart(*common, "--memory", "20MiB")
    found = re.search(r"error: 2 more images need more memory than is allowed; (\d+) MiB are enough", refused.stderr)
    assert found is not None, refused
    done = run_apart(*common, "--memory", f"{found[1]}MiB")
    assert "error" not in done.stderr
    assert done.peak_bytes <= int(found[1]) * MIB
