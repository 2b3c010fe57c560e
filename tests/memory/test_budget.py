"""Streamed passes are planned within a budget: groups at a time, and the store for tokens."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fitcli.device.runtime import choose_runtime
from fitcli.errors import FitError
from fitcli.memory import machine
from fitcli.memory.budget import Work, plan_memory, size_text
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
