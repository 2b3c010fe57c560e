"""Streamed passes are planned within a budget: groups at a time, and the store for tokens."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.pictures import colored, save
from support.processes import NEEDS_PROC

from fitcli.device.runtime import LARGEST_FREE, choose_runtime
from fitcli.errors import FitError, OutOfMemory
from fitcli.memory import machine
from fitcli.memory.budget import Work, kept_for_reuse, plan_memory, shown_bytes, size_text
from fitcli.tasks.encoding.sample_pass import ENCODING
from models.presets import classifier_preset

MIB, GIB = 2**20, 2**30
TINY = classifier_preset("tiny", 3, 2)


def work(side: int, preset: str = "tiny", **changes: object) -> Work:
    """A pass over an image of `side` pixels per side."""
    config = classifier_preset(preset, 3, 2)
    made = Work(
        task=ENCODING,
        config=config,
        precision="fp32",
        groups=(side // 256) ** 2,
        weights_bytes=20 * MIB,
        value_bytes=1,
        values=config.values,
        reader_bytes=64 * MIB,
    )
    return replace(made, **changes)


def test_tokens_rest_in_memory_if_there_is_room_else_on_disk() -> None:
    plans = [plan_memory(work(side), "cpu", GIB) for side in (1024, 8192, 16384)]
    assert [plan.store for plan in plans] == ["host", "host", "disk"]
    assert {plan.handful for plan in plans} == {8}


@pytest.mark.parametrize("side", [256, 4096, 8192, 16384, 32768])
@pytest.mark.parametrize("preset", ["debug", "tiny", "base"])
def test_the_parts_stay_within_the_budget(side: int, preset: str) -> None:
    for budget in (GIB, 2 * GIB, 16 * GIB):
        try:
            plan = plan_memory(work(side, preset, keep_reads=True), "cpu", budget)
        except FitError:
            continue
        assert 0 < sum(plan.parts.values()) <= budget
        assert 1 <= plan.handful <= (side // 256) ** 2
        assert plan.as_dict() == {
            "budget_bytes": budget, "store": plan.store, "handful_groups": plan.handful,
        }  # fmt: skip


@pytest.mark.parametrize("keep_reads", [False, True])
@pytest.mark.parametrize("side", [8192, 16384, 32768])
def test_large_images_fit_in_a_gibibyte(side: int, keep_reads: bool) -> None:
    assert plan_memory(work(side, keep_reads=keep_reads), "cpu", GIB).handful >= 1


def test_too_little_memory_is_refused_with_the_least_that_is_enough() -> None:
    with pytest.raises(FitError) as caught:
        plan_memory(work(32768), "cpu", 100 * MIB)
    match = re.search(
        r"need at least (\d+) MiB of memory \(\w[\w ]* \d+ MiB, .*\), but only 100 MiB are allowed; ", str(caught.value)
    )
    assert match is not None, str(caught.value)
    enough = int(match[1]) * MIB
    assert plan_memory(work(32768), "cpu", enough).handful == 1
    with pytest.raises(FitError):
        plan_memory(work(32768), "cpu", enough - 2 * MIB)


@pytest.mark.more
def test_the_first_error_names_enough_also_without_a_table() -> None:
    unknown = work(1024, config=replace(TINY, plan="(1)3(1)1"))
    with pytest.raises(
        OutOfMemory, match=r"16 groups need at least \d+ MiB of memory \(overhead 72 MiB, image reader 64 MiB"
    ) as caught:
        plan_memory(unknown, "cpu", MIB)
    enough = int(str(caught.value).split("at least ")[1].split()[0])
    assert plan_memory(unknown, "cpu", enough * MIB).handful == 1


def test_the_size_that_a_text_names_is_the_next_that_can_be_written() -> None:
    for size in (1, MIB, MIB + 1, GIB - MIB, GIB, GIB + 1, 3 * GIB + 12345):
        assert size <= shown_bytes(size) <= size + GIB // 100 + 1
        assert size_text(shown_bytes(size)) == size_text(size)


def test_the_allocator_keeps_a_handful_up_to_a_limit() -> None:
    assert kept_for_reuse(12) == 12
    assert kept_for_reuse(5, reader_bytes=10) == 11
    assert kept_for_reuse(GIB) == LARGEST_FREE


CODE = """
import json, sys
import torch
from fitcli.process.resident import resident_bytes
before = resident_bytes()
torch.set_num_threads(1)
from fitcli.app import app
from fitcli.memory.budget import plan_memory
from fitcli.tasks.encoding import memory_plan

planned = []

def plan(*arguments):
    planned.append(plan_memory(*arguments))
    return planned[-1]

memory_plan.plan_memory = plan
app(standalone_mode=False)
print(json.dumps([sum(planned[0].parts.values()), resident_bytes("VmHWM") - before]))
"""


@pytest.mark.walk(1)
@NEEDS_PROC
@pytest.mark.parametrize("options", [[], ["--heatmap", "map.png"]], ids=["plain", "heat map"])
def test_a_pass_takes_what_is_planned(options: list[str], trained: Path, tmp_path: Path) -> None:
    """Resident bytes of the process beyond Python with torch: at most the plan, and at most 72 MiB less."""
    image = save(tmp_path / "image.png", colored((700, 900), (40, 60, 200), 0))
    options = [*options[:1], *(str(tmp_path / name) for name in options[1:])]
    command = ["classify", str(image), "--checkpoint", str(trained), "--memory", "1GiB", "--device", "cpu", *options]
    done = subprocess.run([sys.executable, "-c", CODE, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    planned, took = json.loads(done.stdout.splitlines()[-1])
    assert planned - 72 * MIB <= took <= planned


def test_more_memory_never_means_a_slower_plan() -> None:
    order = {"disk": 0, "host": 1, "device": 2}
    plans = [plan_memory(work(16384), "cpu", budget * MIB) for budget in range(600, 3000, 100)]
    ranks = [(order[plan.store], plan.handful) for plan in plans]
    assert ranks == sorted(ranks)


def test_a_state_that_is_kept_rests_on_disk() -> None:
    plan = plan_memory(work(256, keep_state=True, keep_reads=True), "cpu", 64 * GIB)
    assert (plan.store, plan.reads_store) == ("disk", "disk")


def test_tokens_rest_on_the_device_else_on_the_host_else_on_disk() -> None:
    for budget, host, store in ((64 * GIB, GIB, "device"), (4 * GIB, 64 * GIB, "host"), (4 * GIB, GIB, "disk")):
        assert plan_memory(work(32768), "cuda", budget, host).store == store


def test_a_model_of_one_segment_stores_no_tokens() -> None:
    config = replace(TINY, plan="(2)2")
    plan = plan_memory(work(32768, config=config), "cpu", GIB)
    assert "stored tokens" not in plan.parts
    assert plan.store == "host"


def test_the_summary_of_a_plan() -> None:
    summary = plan_memory(work(16384), "cpu", GIB).summary()
    assert re.fullmatch(
        r"memory: 1\.00 GiB allowed, about \d+ MiB used; 8 groups at a time, tokens rest on disk", summary
    )


def test_without_a_budget_a_share_of_what_is_free() -> None:
    free = machine.available_bytes()
    assert 0 < machine.default_budget(choose_runtime("cpu")) < free * 0.6
    assert machine.host_budget(choose_runtime("cpu")) is None


@pytest.mark.parametrize(("size", "text"), [(GIB, "1.00 GiB"), (GIB + 1, "1.01 GiB"), (MIB + 1, "2 MiB"), (0, "0 MiB")])
def test_sizes_as_text_are_rounded_up(size: int, text: str) -> None:
    assert size_text(size) == text
