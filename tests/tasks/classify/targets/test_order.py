"""`order:NAME`: how levels are named and sorted, the predicted level, and the scores by slow definitions."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from support.answer_tables import answers_of

from fitcli.errors import DataError
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.order import Order, quadratic_kappa

GRADE = Target("grade", "order", ("low", "mid", "high"), outputs=2)


def test_numbers_are_sorted_by_value_however_they_are_written(tmp_path: Path) -> None:
    data = answers_of(tmp_path, "order:grade", "train,10", "train,2", "train,2.0", "val,1e1", "train,9", "test,7")
    assert data.targets == (Target("grade", "order", ("2", "9", "10"), outputs=2),)
    assert [sample.target for sample in data.train] == [((2,),), ((0,),), ((0,),), ((1,),)]
    assert [sample.target for sample in data.test] == [((),)], "a level that nobody learned"
    assert data.answers == (
        "order:grade, from lowest to highest (training + validation images): 2 (2 + 0), 9 (1 + 0), 10 (1 + 1)",
    )


def test_long_numbers_are_different_levels(tmp_path: Path) -> None:
    data = answers_of(tmp_path, "order:x", "train,12345678", "train,12345679", "val,12345679.0")
    assert data.targets[0].classes == ("12345678", "12345679")


def test_names_are_sorted_as_the_heading_says(tmp_path: Path) -> None:
    data = answers_of(tmp_path, "Order: grade =low | mid|high,value:x", "train,high,1", "train,low,2", "train,mid,3",
                      "val,,4")  # fmt: skip
    assert data.targets[0] == GRADE
    assert [sample.target[0] for sample in (*data.train, *data.validation)] == [(2,), (0,), (1,), ()]
    assert data.answers[0].endswith("high (1 + 0); not known for 0 + 1")
    down = answers_of(tmp_path, "order:stage=3|2|1", "train,3.0", "train,1", "train,2", "val,1")
    assert down.targets[0].classes == ("3", "2", "1")


@pytest.mark.parametrize(
    ("heading", "rows", "message"),
    [
        ("order:x", ["train,high", "train,low", "val,low"],
         r"order:x: 'high' is no number; state the order of the levels in the heading: order:x=LOWEST\|...\|HIGHEST"),
        ("order:x", ["train,1", "train,low", "val,1"], "'low' is no number"),
        ("order:x=a|b", ["train,a", "train,c", "val,b"], "line 3: order:x=a|b: 'c' is none of its levels"),
        ("order:x=a|a", ["train,a"], "needs two different levels or more after '='"),
        ("order:x=a|", ["train,a"], "needs two different levels or more after '='"),
        ("order:x=1|1.0", ["train,1"], "needs two different levels or more after '='"),
        ("order:x=a", ["train,a"], "needs two different levels or more after '='"),
        ("order:x", ["train,1", "train,1.0", "val,1"], "needs two classes or more, found only '1'"),
        ("order:x", ["train,1", "train,2", "val,3"], "no training image of class '3'"),
        ("order:x=a|b|c", ["train,a", "train,c", "val,a"], "no training image of class 'b'"),
        ("order:x,label:x", ["train,1,a", "train,2,b"], "has the column 'label:x' twice"),
        ("order:,label:y", ["train,1,a", "train,2,b"], "has the column 'order:' without a name"),
    ],
)  # fmt: skip
def test_levels_that_are_wrong_say_where(tmp_path: Path, heading: str, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message.replace("=a|b:", r"=a\|b:")):
        answers_of(tmp_path, heading, *rows)


def test_levels_are_spread_over_the_splits_and_unknown_ones_do_not_matter(tmp_path: Path) -> None:
    rows = [f",{level},1" for level in (1, 1, 1, 2, 2, 3, 3)] + [",,2"]
    data = answers_of(tmp_path, "order:x,value:y", *rows)
    assert sorted(sample.target[0] for sample in data.validation) == [(0,), (1,), (2,)]
    assert () in {sample.target[0] for sample in data.train}
    with pytest.raises(DataError, match="class '3' has one image; it needs two"):
        answers_of(tmp_path, "order:x,value:y", *rows[:-2])


def test_a_data_set_to_evaluate_needs_no_order(tmp_path: Path) -> None:
    data = answers_of(tmp_path, "order:grade", "train,mid", "val,high", training=False)
    assert data.targets[0].classes == ("high", "mid")
    matched = Order().match(tmp_path, data.targets[0], GRADE, data.validation[0].target[0])
    assert matched == (2,)
    with pytest.raises(DataError, match="the run has no class 'mid'"):
        Order().match(tmp_path, data.targets[0], Target("grade", "order", ("1", "2"), outputs=1), (1,))


def test_the_probabilities_of_levels_sum_to_one_for_any_outputs() -> None:
    kind = Order()
    for outputs in product((-50.0, -1.0, 0.0, 3.0, 50.0), repeat=2):
        prediction = kind.predict(GRADE, torch.tensor(outputs, dtype=torch.float64))
        beyond = [1 / (1 + np.exp(-output)) for output in outputs]
        assert prediction == pytest.approx([1 - beyond[0], beyond[0] * (1 - beyond[1]), beyond[0] * beyond[1]])
        assert (prediction >= 0).all()


def test_the_predicted_level_is_the_median() -> None:
    kind, prediction = Order(), np.array([0.4, 0.2, 0.4])
    assert kind.text(GRADE, prediction) == "mid"
    assert kind.document(GRADE, prediction, 1) == {
        "level": "mid",
        "levels": [{"level": name, "probability": p} for name, p in zip(GRADE.classes, (0.4, 0.2, 0.4), strict=True)],
    }
    assert [kind.text(GRADE, np.array(each)) for each in ([0.6, 0.2, 0.2], [0.1, 0.3, 0.6])] == ["low", "high"]
    assert (kind.cells(GRADE, (1,)), kind.cells(GRADE, ())) == (["mid"], [""])


def test_scores_by_their_definitions() -> None:
    rng = np.random.default_rng(0)
    predictions = rng.dirichlet((1, 1, 1), 40)
    given = rng.integers(0, 3, 40)
    scores = Order().evaluate(GRADE, predictions, [(int(level),) for level in given])
    predicted = [next(n for n in range(3) if sum(row[: n + 1]) >= 0.5) for row in predictions]
    assert scores["mae"] == pytest.approx(np.mean([abs(a - b) for a, b in zip(given, predicted, strict=True)]))
    assert scores["exact"] == pytest.approx(np.mean([a == b for a, b in zip(given, predicted, strict=True)]))
    assert scores["loss"] == pytest.approx(-np.log(predictions[np.arange(40), given]).mean())
    # Kappa: the disagreement of pairs, over that of all pairs of an answer with any prediction.
    seen = np.mean([(a - b) ** 2 for a, b in zip(given, predicted, strict=True)])
    by_chance = np.mean([(a - b) ** 2 for a, b in product(given, predicted)])
    assert scores["kappa"] == pytest.approx(1 - seen / by_chance)
    assert np.array(scores["confusion"]).sum() == 40
    assert scores["confusion"][0][2] == sum(a == 0 and b == 2 for a, b in zip(given, predicted, strict=True))
    assert list(Order().validate(GRADE, predictions, [(int(level),) for level in given]).scores) == [
        "kappa",
        "mae",
        "exact",
    ]


def test_kappa_of_one_level_alone_is_not_defined() -> None:
    assert quadratic_kappa(np.array([[5, 0], [0, 0]])) is None
    assert quadratic_kappa(np.array([[5, 0], [0, 3]])) == 1


def test_impossible_orders_are_refused() -> None:
    Order().check(GRADE)
    for target in (Target("g", "order", ("a",), outputs=1), Target("g", "order", ("a", "b", "c"))):
        with pytest.raises(ValueError, match="target 'g' of kind 'order' has"):
            Order().check(target)
