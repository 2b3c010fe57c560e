"""The execution that fits a budget, the largest image that fits, and a smaller execution after memory ran out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fitcli.errors import FitError
from fitcli.execution.job import largest_handful
from fitcli.memory import estimate
from fitcli.memory.budget import largest
from fitcli.memory.estimate import Training, fixed_parts, parameter_count, parameters_text, reserve_bytes
from fitcli.memory.plan import SMALLEST, StepTooLarge, cheaper_choice, choose, evaluate_plan, largest_side, named_plans
from fitcli.tasks.registry import find_task
from models.presets import classifier_preset

GIB = 2**30

BASE = Training(task=find_task("classify"), config=classifier_preset("base", 3, 100), groups=625, precision="bf16")


def test_choices_fit_and_more_memory_never_costs_more() -> None:
    work = BASE
    choices = [choose(work, int(gib * GIB)) for gib in (40, 24, 16, 12, 8, 4, 3.2, 2.9)]
    for gib, choice in zip((40, 24, 16, 12, 8, 4, 3.2, 2.9), choices, strict=True):
        assert choice.estimate.needed_bytes <= gib * GIB
    extra = [choice.extra for choice in choices]
    assert extra == sorted(extra)
    assert choices[0].plan.kind == "plain"
    assert choices[-1].plan.kind == "stream"


def test_a_budget_is_used() -> None:
    """The fraction of kept groups is as large as fits."""
    work = BASE
    choice = choose(work, 12 * GIB)
    assert 0.3 < choice.plan.keep < 0.9
    assert choice.estimate.needed_bytes > 0.9 * 12 * GIB


def test_too_little_memory_is_refused_with_what_the_smallest_takes() -> None:
    work = BASE
    with pytest.raises(FitError, match=r"113 M parameters takes at least 2\.\d+ GiB \(optimizer 861 MiB"):
        choose(work, GIB)


def test_after_memory_ran_out_an_execution_takes_far_less() -> None:
    work = BASE
    first = choose(work, 16 * GIB)
    second = cheaper_choice(work, first)
    assert second is not None
    assert second.estimate.needed_bytes <= 0.75 * first.estimate.needed_bytes
    smallest = choose(work, int(2.75 * GIB))
    assert cheaper_choice(work, smallest) is None


def test_tokens_rest_on_disk_if_the_host_is_too_small() -> None:
    work = BASE
    assert choose(work, 3 * GIB).plan.store == "host"
    assert choose(work, 3 * GIB, away_bytes=1 << 20).plan.store == "disk"


@pytest.mark.parametrize("name", ["plain", "recompute", "stream"])
def test_no_larger_image_fits(name: str) -> None:
    work = replace(BASE, config=classifier_preset("tiny", 3, 10), groups=1)
    plan = named_plans(work)[name]
    side = largest_side(work, plan, 2 * GIB)

    def needed(side: int) -> int:
        return evaluate_plan(replace(work, groups=side * side), plan).estimate.needed_bytes

    assert needed(side) <= 2 * GIB < needed(side + 1)


@pytest.mark.parametrize("answer", range(18))
def test_the_largest_number_that_fits(answer: int) -> None:
    assert largest(lambda number: number <= answer, 17) == answer


def test_base_at_6400_trains_in_three_gigabytes() -> None:
    """About 100 M parameters at 160,000 tokens: weights, gradients, AdamW and all; FIT, section 4.1, needs 16 GB."""
    config = classifier_preset("base", 3, 100)
    work = BASE
    choice = evaluate_plan(work, named_plans(work)["recompute all"])
    assert 100e6 < parameter_count(config) < 120e6
    assert choice.estimate.peak_bytes <= 3 * GIB
    assert choice.extra < 0.31


@pytest.mark.parametrize(("groups", "images"), [(70_000, 1), (17_500, 4)])
def test_no_plan_exceeds_what_a_kernel_takes_in_one_call(groups: int, images: int) -> None:
    """However much memory there is: all groups at once are one launch, whose grid has a limit. A CPU has none."""
    config = classifier_preset("nano", 3, 2)
    assert groups * images > largest_handful(config)
    work = Training(task=find_task("classify"), config=config, groups=groups, images=images, precision="fp32")
    on_gpu = choose(replace(work, device="cuda"), 1 << 50).plan
    assert on_gpu.in_handfuls
    assert on_gpu.handful <= largest_handful(config)
    assert choose(replace(work, device="cpu"), 1 << 50).plan.kind == "plain"
    few = replace(work, device="cuda", groups=largest_handful(config) // images)
    assert choose(few, 1 << 50).plan.kind == "plain"


def test_what_weights_alone_exceed_takes_one_dry_run_to_name_what_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a size that no other test asks for.
    work, runs = replace(BASE, groups=641), set()
    find = estimate.find_table
    monkeypatch.setattr(estimate, "find_table", lambda run: runs.add(run.key) or find(run))
    with pytest.raises(StepTooLarge, match=r"takes at least \d+") as caught:
        choose(work, 300 << 20)
    assert len(runs) == 1
    assert choose(work, caught.value.needed_bytes).estimate.needed_bytes <= caught.value.needed_bytes


def test_what_is_named_does_not_depend_on_what_was_allowed() -> None:
    for device in ("cpu", "cuda"):
        work = replace(BASE, device=device)
        needed = set()
        for budget in (1 << 20, sum(fixed_parts(work).values()) + reserve_bytes(device, {}) + (64 << 20)):
            with pytest.raises(StepTooLarge) as caught:
                choose(work, budget)
            needed.add(caught.value.needed_bytes)
        assert len(needed) == 1


def test_a_small_model_has_parameters() -> None:
    small = replace(BASE, config=replace(BASE.config, plan="(1)1(1)1"), device="cpu")
    assert parameters_text(small.config).endswith(" M parameters")
    assert re.fullmatch(r"\d{2,3},\d{3} parameters", parameters_text(classifier_preset("debug", 3, 2)))


def test_the_fixed_parts_are_those_of_every_execution() -> None:
    for device in ("cpu", "cuda"):
        work = replace(BASE, device=device, ema=True)
        fixed = fixed_parts(work)
        for plan in named_plans(work).values():
            parts = evaluate_plan(work, plan).estimate.parts
            assert {name: parts[name] for name in fixed} == fixed


def test_the_smallest_execution_is_the_smallest() -> None:
    least = evaluate_plan(BASE, SMALLEST).estimate.needed_bytes
    assert choose(BASE, least).estimate.needed_bytes <= least
    with pytest.raises(FitError, match="too little"):
        choose(BASE, least - 1)


def test_what_a_process_has_loaded_counts() -> None:
    work = replace(BASE, device="cpu", loaded_bytes=0)
    more = replace(work, loaded_bytes=100 << 20)
    plan = named_plans(work)["stream"]
    bare, full = (evaluate_plan(each, plan).estimate.needed_bytes for each in (work, more))
    assert full - bare == 100 << 20
    assert evaluate_plan(replace(more, device="cuda"), plan).estimate == evaluate_plan(BASE, plan).estimate


def test_images_that_are_being_read_count_twice_on_a_cpu() -> None:
    work = replace(BASE, device="cpu", images=2)
    plan = named_plans(work)["stream"]
    none, three = (evaluate_plan(replace(work, reading=number), plan).estimate.parts["pixels"] for number in (0, 3))
    assert three - none == 3 * work.pixel_bytes
