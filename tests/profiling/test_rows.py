"""A row as JSON data and as cells of a table, estimated and measured."""

from __future__ import annotations

from dataclasses import replace

from fitcli.memory.estimate import Estimate
from fitcli.profiling.measure import Measurement
from fitcli.profiling.rows import Row
from fitcli.profiling.subject import Conditions, subject_for

GIB = 2**30
SUBJECT = subject_for(None, "tiny", None)
CONDITIONS = Conditions(
    device="cuda", precision="bf16", images=3, budget_bytes=GIB, method="estimate", runtime=None
)  # fmt: skip
ESTIMATE = Estimate(
    parts={"parameters": 100, "gradients": 200, "optimizer": 300, "latents": 40, "pixels": 2},
    reserve_bytes=1000,
    away_bytes=GIB,
    flops={"local, product": 70, "local, attention": 30},
)
ROW = Row(
    res=512, groups=2, mode="train", execution="stream", estimate=ESTIMATE, extra=0.25, measurement=None, fits=True
)  # fmt: skip


def test_an_estimated_row() -> None:
    document = ROW.as_dict(SUBJECT, CONDITIONS)
    assert (document["tokens"], document["latents"]) == (
        4 * 3 * SUBJECT.config.tokens, 4 * 3 * SUBJECT.config.latents,
    )  # fmt: skip
    assert [document[f"{name}_bytes"] for name in ("parameters", "gradients", "optimizer", "activations", "peak")] == [
        100, 200, 300, 42, 642,
    ]  # fmt: skip
    assert (document["method"], document["needed_bytes"], document["away_bytes"]) == ("estimate", 1642, GIB)
    assert document["flops_by_part"] == {"local, product": 70, "local, attention": 30}
    assert (document["flops"], document["extra_flops"], document["seconds"]) == (100, 0.25, None)
    assert ROW.as_cells("9,999") == [
        "512 x 512", "train", "stream", "1 MiB", "+25%", "1.00 GiB", "yes", "9,999", "estimated",
    ]  # fmt: skip


def test_a_measured_row() -> None:
    measurement = Measurement(peak_bytes=GIB, reserved_bytes=2 * GIB, seconds=0.5)
    row = replace(ROW, mode="infer", measurement=measurement, fits=False, estimate=replace(ESTIMATE, away_bytes=0))
    document = row.as_dict(SUBJECT, CONDITIONS)
    assert document["tokens"] == 4 * SUBJECT.config.tokens, "inference is about one image"
    assert (document["method"], document["peak_bytes"], document["reserved_bytes"]) == ("measure", GIB, 2 * GIB)
    assert document["patches_per_second"] == 2 * document["tokens"]
    assert document["flops_per_second"] == 200
    assert row.as_cells("") == [
        "512 x 512", "infer", "stream", "1.00 GiB", "", "", "no", "", "measured, 0.50 s; estimate 1 MiB (-100.0%)",
    ]  # fmt: skip


def test_a_measurement_is_compared_with_the_estimate_of_what_was_measured() -> None:
    measurement = Measurement(peak_bytes=GIB, reserved_bytes=GIB, seconds=0.5, loaded_bytes=7)
    like = replace(ESTIMATE, parts={"parameters": GIB + GIB // 4})
    row = replace(ROW, measurement=measurement, like=like)
    assert row.as_dict(SUBJECT, CONDITIONS)["estimated_like_bytes"] == GIB + GIB // 4
    assert row.as_dict(SUBJECT, CONDITIONS)["estimated_peak_bytes"] == ESTIMATE.peak_bytes
    assert row.as_cells("")[-1] == "measured, 0.50 s; estimate 1.25 GiB (+25.0%)"
