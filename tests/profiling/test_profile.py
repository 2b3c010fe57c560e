"""The rows of a profile: what fits, the largest image that fits, and what is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fitcli.device.runtime import choose_runtime
from fitcli.errors import FitError
from fitcli.memory.estimate import FIRST_STEP
from fitcli.profiling import profile as module
from fitcli.profiling.measure import Measurement
from fitcli.profiling.profile import (
    execution_names,
    largest_sizes,
    profile,
    smallest_need,
    title,
    where_to_measure,
)
from fitcli.profiling.rows import Mode, Row
from fitcli.profiling.subject import Conditions, Subject, subject_for

MIB, GIB = 2**20, 2**30
TINY = subject_for(None, "tiny", None)
MODES: list[Mode] = ["train", "infer"]


def conditions(**changes: Any) -> Conditions:
    fields = {
        "device": "cuda",
        "precision": "bf16",
        "images": 1,
        "budget_bytes": GIB,
        "method": "estimate",
        "runtime": None,
    }
    return Conditions(**{**fields, **changes})


def rows(subject: Subject, given: Conditions, sizes: list[int]) -> list[Row]:
    return list(profile(subject, given, MODES, sizes))


def test_a_row_per_size_and_execution() -> None:
    names = {mode: execution_names(TINY, conditions(), mode) for mode in MODES}
    result = rows(TINY, conditions(), [512, 1000])
    assert [(row.mode, row.res, row.execution) for row in result] == [
        (mode, res, name) for mode in MODES for res in (512, 1000) for name in names[mode]
    ]
    assert {row.groups for row in result if row.res == 1000} == {4}, "padded to 1024 pixels"
    assert all(row.fits == (row.estimate.needed_bytes <= GIB) for row in result)
    assert {row.fits for row in rows(TINY, conditions(budget_bytes=2 * GIB), [4096])} == {True, False}


def test_the_largest_sizes_fit_and_larger_ones_do_not() -> None:
    sizes = largest_sizes(TINY, conditions(), MODES)
    assert sizes.keys() == {(mode, name) for mode in MODES for name in execution_names(TINY, conditions(), mode)}
    for (mode, name), res in sizes.items():
        at, beyond = (
            next(row for row in profile(TINY, conditions(), [mode], [side]) if row.execution == name)
            for side in (res, res + 1)
        )
        assert (at.fits, beyond.fits) == (True, False), (mode, name)


def test_less_than_the_smallest_need_fits_nothing() -> None:
    need = smallest_need(TINY, conditions(), MODES)
    assert max(largest_sizes(TINY, conditions(budget_bytes=need), MODES).values()) > 0
    assert max(largest_sizes(TINY, conditions(budget_bytes=need - 1), MODES).values()) == 0


def test_what_is_measured() -> None:
    here = conditions(device="cpu", runtime=choose_runtime("cpu", "fp32"))
    (row, *_) = rows(TINY, here, [512])
    cheap, dear = replace(row.estimate, flops={}), replace(row.estimate, flops={"ends, product": 10**20})
    for method, expected in (("estimate", (False, False)), ("auto", (True, False)), ("measure", (True, True))):
        given = replace(here, method=method)
        assert tuple(where_to_measure(given, each) is not None for each in (cheap, dear)) == expected
    measured = replace(here, method="measure")
    assert where_to_measure(replace(measured, budget_bytes=1), cheap) is None, "it does not fit"
    assert where_to_measure(replace(measured, ranks=2), cheap) is None
    with pytest.raises(FitError, match="no cuda device here to measure on; use --method estimate or --device cpu"):
        rows(TINY, conditions(method="measure"), [512])


def test_a_measurement_that_ran_out_of_memory_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    here = conditions(device="cpu", runtime=choose_runtime("cpu", "fp32"), method="measure", budget_bytes=64 * GIB)
    monkeypatch.setattr(module, "measure_pass", lambda *_: Measurement(peak_bytes=5, reserved_bytes=6, seconds=7.0))
    monkeypatch.setattr(module, "measure_step", lambda *_: None)
    for row in rows(TINY, here, [256]):
        if row.mode == "train":
            assert (row.measurement, row.fits, row.peak_bytes) == (None, False, row.estimate.peak_bytes)
        else:
            assert (row.fits, row.peak_bytes) == (True, 5)


def test_a_measured_step_is_compared_without_average_and_batches_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    here = conditions(device="cpu", runtime=choose_runtime("cpu", "fp32"), method="measure", budget_bytes=64 * GIB)
    measurement = Measurement(peak_bytes=5, reserved_bytes=5, seconds=7.0, loaded_bytes=11 * MIB)
    monkeypatch.setattr(module, "measure_pass", lambda *_: measurement)
    monkeypatch.setattr(module, "measure_step", lambda *_: measurement)
    for row in rows(TINY, here, [256]):
        if row.mode == "infer":
            assert row.like is None
            continue
        assert row.like is not None
        kept = {name: size for name, size in row.like.parts.items() if name not in ("libraries", "ema", "pixels")}
        assert kept == {name: row.estimate.parts[name] for name in kept}
        assert "ema" not in row.like.parts or row.like.parts["ema"] == 0
        assert row.like.parts["libraries"] == 11 * MIB + FIRST_STEP["bf16"]
        assert row.like.parts["pixels"] < row.estimate.parts["pixels"]


def test_the_title() -> None:
    assert title(TINY, conditions()) == "tiny (classify): 6.2 M parameters, bf16, a GPU with 1.00 GiB"
    several = title(TINY, conditions(images=3, ranks=4, device="cpu"))
    assert several.endswith("bf16, 3 images in a batch, a CPU with 1.00 GiB that shares each image with 3 more")
