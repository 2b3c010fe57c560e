"""Bootstrap intervals over patients: wider than over images, where the images of a patient are alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.data.dataset import Sample
from fitcli.tasks.bootstrap import bootstrap, unit_names, unit_noun


def test_patients_are_drawn_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.random(20) < 0.7, 10)
    samples = [Sample(Path(f"{n}"), 0, patient=f"p{n // 10}") for n in range(200)]

    def scores(weights: np.ndarray) -> dict[str, float]:
        assert all(len(set(weights[n : n + 10])) == 1 for n in range(0, 200, 10))
        return {"accuracy": float(weights[truth].sum() / weights.sum()), "never": np.nan}

    found = bootstrap(unit_names(samples), scores, unit_noun(samples))
    assert (found["by"], found["units"]) == ("patient", 20)
    assert found == bootstrap(unit_names(samples), scores, unit_noun(samples)), "the same numbers each time"
    low, high = found["scores"]["accuracy"]
    mean, error = truth.mean(), np.sqrt(truth.mean() * (1 - truth.mean()) / 20)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.06)
    assert "never" not in found["scores"]
    alone = bootstrap([f"{n}" for n in range(200)], lambda w: {"accuracy": float(w[truth].sum() / w.sum())}, "image")
    assert alone["scores"]["accuracy"][1] - alone["scores"]["accuracy"][0] < (high - low) / 2


def test_one_patient_has_no_interval() -> None:
    samples = [Sample(Path("a"), 0, patient="p"), Sample(Path("b"), 0, patient="p")]
    assert bootstrap(unit_names(samples), lambda weights: {"x": 1.0}, "patient")["scores"] == {}


def test_an_image_without_a_patient_is_by_itself() -> None:
    samples = [Sample(Path("a"), 0, patient="b"), Sample(Path("b"), 0), Sample(Path("c"), 0)]
    assert len(set(unit_names(samples))) == 3
    assert unit_noun(samples) == "patient"
    assert unit_noun(samples[1:]) == "image"
