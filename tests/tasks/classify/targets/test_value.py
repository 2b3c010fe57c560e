"""`value:NAME`: what a cell may hold, the scale, the prediction in its unit, and the scores by slow definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.answer_tables import answers_of

from fitcli.errors import DataError
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.value import Value

AGE = Target("Age", "value", (), outputs=1, scale=(40.0, 20.0))


def test_a_column_of_numbers(tmp_path: Path) -> None:
    data = answers_of(tmp_path, "Value: Age", "train,30", "val,-1.5e1", "test,9.", training=False)
    assert data.targets == (Target("Age", "value", (), outputs=1),)
    assert [sample.target for sample in (*data.validation, *data.test)] == [((-15.0,),), ((9.0,),)]
    with pytest.raises(DataError, match="line 3: has no answer in value:Age; fill one in, or remove the line"):
        answers_of(tmp_path, "value:Age", "train,30", "train,", "val,10")
    data = answers_of(tmp_path, "value:Age,labels:marks", "train,30,a", "train,,a", "val,-1.5e1,a", "train,50,a")
    assert [sample.target for sample in data.train] == [((30.0,), (0,)), ((), (0,)), ((50.0,), (0,))]
    assert [sample.target for sample in data.validation] == [((-15.0,), (0,))]
    # Mean and deviation are those of the training images.
    assert data.targets[0] == Target("Age", "value", (), outputs=1, scale=(40.0, 10.0))
    assert data.classes == ()
    assert data.answers[0] == (
        "value:Age (training + validation): 30 to 50, mean 40, deviation 10; 2 + 1 images, not known for 1 + 0"
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["train,3", "train,1,5"], "line 3: has more fields"),
        (["train,3", 'train,"1,5"'], r"line 3: value:x '1,5' is no number; write 1\.5, with a point"),
        (["train,3", "train,nan"], "line 3: value:x 'nan' is no number"),
        (["train,3", "train,inf"], "line 3: value:x 'inf' is no number"),
        (["train,3", "train,old"], "line 3: value:x 'old' is no number; correct it"),
        (["train,5", "train,5.0", "val,6"], "column value:x: a model needs different values .* images, all are 5"),
        (["train,-1.7e308", "train,1.7e308"], "too large or too close; write another unit"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_learned(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        answers_of(tmp_path, "value:x", *rows)


def test_an_empty_column_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the column value:x is empty; fill it, or leave it out"):
        answers_of(tmp_path, "value:x,label:y", "train,,a", "train,,b", "val,,a")


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_values_of_any_unit_are_learned_alike(tmp_path: Path, unit: float) -> None:
    data = answers_of(tmp_path, "value:x", *(f"train,{number * unit!r}" for number in (1, 2, 3)), f"val,{unit!r}")
    mean, deviation = data.targets[0].scale
    assert (mean / unit, deviation / unit) == pytest.approx((2, np.sqrt(2 / 3)))
    assert Value().row(data.targets[0], (3 * unit,)) == pytest.approx([np.sqrt(1.5)])


def test_a_prediction_is_in_the_unit_of_the_data_set() -> None:
    kind, prediction = Value(), Value().predict(AGE, torch.tensor([-0.25], dtype=torch.float64))
    assert prediction.tolist() == [35.0]
    assert kind.text(AGE, prediction) == "35"
    assert kind.document(AGE, prediction, 3) == {"value": 35.0}
    assert (kind.names(AGE), kind.size(AGE), kind.width(AGE)) == ((), 1, 1)
    assert (list(kind.headings(AGE)), kind.cells(AGE, (0.1,)), kind.cells(AGE, ())) == (["value:Age"], ["0.1"], [""])


@pytest.mark.parametrize(
    ("deviation", "text"), [(0.001, "2001.52346789"), (12.0, "2001.5235"), (3e6, "2000"), (1e-12, "2001.523467891")]
)
def test_a_text_has_five_digits_below_the_deviation(deviation: float, text: str) -> None:
    target = Target("x", "value", (), outputs=1, scale=(0.0, deviation))
    assert Value().text(target, np.array([2001.523467891])) == text


def test_scores_by_their_definitions() -> None:
    rng = np.random.default_rng(0)
    given, predicted = rng.normal(40, 20, 30).round(0), rng.normal(40, 30, 30).round(0)
    scores = Value().evaluate(AGE, predicted[:, None], [(value,) for value in given])
    assert scores["mae"] == pytest.approx(sum(abs(a - b) for a, b in zip(given, predicted, strict=True)) / 30)
    residual = sum((a - b) ** 2 for a, b in zip(given, predicted, strict=True))
    assert scores["r2"] == pytest.approx(1 - residual / sum((a - given.mean()) ** 2 for a in given))
    places = [[1 + sum(o < v for o in all_) + (sum(all_ == v) - 1) / 2 for v in all_] for all_ in (given, predicted)]
    assert len(set(places[0])) < 30, "some values are equal"
    assert scores["spearman"] == pytest.approx(np.corrcoef(places)[0, 1])
    errors = np.abs(given - predicted) / 20
    assert scores["loss"] == pytest.approx(np.where(errors < 1, errors**2 / 2, errors - 0.5).mean())
    assert list(Value().validate(AGE, predicted[:, None], [(v,) for v in given]).scores) == ["r2", "mae", "spearman"]


def test_scores_that_are_not_defined_are_none() -> None:
    scores = Value().evaluate(AGE, np.array([[1.0], [2.0]]), [(5.0,), (5.0,)])
    assert (scores["r2"], scores["spearman"], scores["mae"]) == (None, None, 3.5)
    assert list(Value().validate(AGE, np.array([[1.0]]), [(5.0,)]).scores) == ["mae"]


def test_impossible_scales_are_refused() -> None:
    Value().check(AGE)
    for scale, message in (
        ((1.0,), "1 values of a scale, not 2"), ((0.0, 0.0), "impossible"), ((float("nan"), 1.0), "impossible"),
        ((0.0, float("inf")), "impossible"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            Value().check(Target("Age", "value", (), outputs=1, scale=scale))
    with pytest.raises(ValueError, match="2 outputs, not 1"):
        Value().check(Target("Age", "value", (), outputs=2, scale=(0.0, 1.0)))
