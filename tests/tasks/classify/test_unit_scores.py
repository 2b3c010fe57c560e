"""Scores of patients, for one target and for several."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.data.dataset import Sample
from fitcli.runs.targets import Target
from fitcli.tasks.classify.unit_scores import score_units

TWO = Target("label", "single-label", ("normal", "tumor"))
MARKS = Target("m", "multi-label", ("p", "q"))


def test_a_patient_counts_once() -> None:
    scored = [
        (Sample(Path(f"{n}"), target, patient=patient), [1 - p, p])
        for n, (patient, target, p) in enumerate(
            [("a", 1, 0.1), ("a", 1, 0.2), ("a", 1, 0.9), ("b", 0, 0.3), ("c", 1, 0.8), ("", 0, 0.1)]
        )
    ]
    found = score_units([TWO], False, scored, {"label": {"tumor": 0.35}})
    assert found.document["patients"] == 4
    assert found.document["mean"]["accuracy"] == pytest.approx(3 / 4), "the mean of a is 0.4"
    assert found.document["max"]["accuracy"] == 1
    assert found.document["mean"]["sensitivity"] == 1, "at the threshold of the run"
    assert found.columns == (
        "patient", "images", "label", "predicted", "mean:normal", "mean:tumor", "max:normal", "max:tumor"
    )  # fmt: skip
    assert found.rows[0] == ("a", 3, "tumor", "normal", "0.600000", "0.400000", "0.100000", "0.900000")
    assert found.rows[3][0] == Path("5"), "an image without a patient"
    assert found.table.columns == ("by patient", "mean", "max")


def test_several_targets() -> None:
    scored = [
        (Sample(Path(f"{n}"), numbers, patient=patient), values)
        for n, (patient, numbers, values) in enumerate(
            [
                ("a", ((0,), (0,)), [0.9, 0.1, 0.8, 0.1]),
                ("a", ((0,), (1,)), [0.8, 0.2, 0.1, 0.9]),
                ("b", ((1,), ()), [0.2, 0.8, 0.1, 0.2]),
            ]
        )
    ]
    found = score_units([TWO, MARKS], True, scored, {})
    assert found.document["max"]["label"]["accuracy"] == 1
    assert found.document["max"]["m"]["accuracy"] == 1, "a label of any image of a patient holds for the patient"
    assert found.document["mean"]["m"]["accuracy"] == 0.5
    assert found.rows[0][:6] == ("a", 2, "normal", "normal", "p|q", "")
