"""`time:NAME` and `event:NAME`: what cells may hold, the bins, and loss and C-index by slow definitions."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from support.answer_tables import answers_of

from fitcli.errors import DataError
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.survival import MOST_BINS, Survival, concordance

LIFE = Target("life", "survival", (), outputs=3, scale=(2.0, 6.0, 10.0))


def test_two_columns_make_one_target(tmp_path: Path) -> None:
    rows = ["train,1,5", "train,0,8.5", "val,1.0,3", "train,1,7", "train,0,9"]
    data = answers_of(tmp_path, "event:life,time:life", *rows)
    assert [sample.target for sample in data.train] == [((5.0, 1.0),), ((8.5, 0.0),), ((7.0, 1.0),), ((9.0, 0.0),)]
    assert data.targets == (Target("life", "survival", (), outputs=1, scale=(9.0,)),)
    assert data.answers == (
        "survival:life (training + validation): 2 + 1 events (event 1), 2 + 0 censored (event 0); 4 + 1 images; "
        "bins end at 9",
    )


@pytest.mark.parametrize(
    ("heading", "rows", "message"),
    [
        ("time:x", ["train,1"], "has the column 'time:x', but no 'event:x'; they belong together"),
        ("time:x,event:y", ["train,1,1"], "has the column 'time:x', but no 'event:x'"),
        ("event:x", ["train,1"], "has the column 'event:x', but no 'time:x'"),
        ("time:x,event:x,event:x", ["train,1,1,1"], "has the column '(time|event):x' twice"),
        ("time:x,event:x", ["train,-0.5,1"], "line 2: time:x '-0.5' is below zero"),
        ("time:x,event:x", ["train,3,2"], r"line 2: event:x '2' is neither 0 \(censored\) nor 1"),
        ("time:x,event:x", ["train,3,dead"], "line 2: event:x 'dead' is no number"),
        ("time:x,event:x", ["train,nan,1"], "line 2: time:x 'nan' is no number"),
        ("time:x,event:x", ['train,"3,5",1'], r"line 2: time:x '3,5' is no number; write 3\.5"),
        ("time:x,event:x", ["train,3,"], "line 2: has time:x, but event:x is empty; fill in both"),
        ("time:x,event:x", ["train,,1"], "line 2: has event:x, but time:x is empty; fill in both"),
        ("time:x,event:x", ["train,,"], "line 2: has no answer in time:x and event:x"),
        ("time:x,event:x", ["train,3,0", "train,4,0", "val,3,1"], "no training image has an event"),
        ("time:x,event:x", ["train,3,1", "train,3,0", "val,4,1"], "all training images have the time 3"),
    ],
)
def test_times_and_events_that_are_wrong_say_where(tmp_path: Path, heading: str, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        answers_of(tmp_path, heading, *rows)


@pytest.mark.parametrize(("images", "bins"), [(2, 1), (9, 1), (10, 2), (23, 4), (200, MOST_BINS)])
def test_bins_hold_equally_many_events_and_fewer_images_have_fewer_bins(tmp_path: Path, images: int, bins: int) -> None:
    rng = np.random.default_rng(images)
    times = rng.permutation(images) + 1.0
    data = answers_of(tmp_path, "time:x,event:x", *(f"train,{time},1" for time in times), "val,1,1")
    ends = data.targets[0].scale
    assert (len(ends), data.targets[0].outputs, ends[-1]) == (bins, bins, images)
    counts = np.histogram(times, [0, *ends])[0]
    assert counts.max() - counts.min() <= 2


def test_equal_event_times_make_one_bin(tmp_path: Path) -> None:
    rows = [f"train,{time},1" for time in [3.0] * 30 + [0.0] * 10 + [8.0]]
    (target,) = answers_of(tmp_path, "time:x,event:x", *rows, "val,1,1").targets
    assert target.scale == (3.0, 8.0)
    Survival().check(target)


@pytest.mark.parametrize(
    ("answer", "row"),
    [
        ((0.0, 1.0), [0, 1]), ((2.0, 1.0), [0, 1]), ((2.1, 1.0), [1, 1]), ((10.0, 1.0), [2, 1]), ((99.0, 1.0), [2, 1]),
        # A censored image passed the bins of which it passed half: 1, 4 and 8 are their middles.
        ((0.9, 0.0), [0, 0]), ((1.0, 0.0), [1, 0]), ((3.9, 0.0), [1, 0]), ((4.0, 0.0), [2, 0]), ((8.0, 0.0), [3, 0]),
        ((99.0, 0.0), [3, 0]),
    ],
)  # fmt: skip
def test_times_in_bins(answer: tuple[float, float], row: list[float]) -> None:
    assert list(Survival().row(LIFE, answer)) == row


def test_a_prediction_is_a_falling_curve_and_a_risk() -> None:
    kind = Survival()
    prediction = kind.predict(LIFE, torch.tensor([0.0, -1.0, 2.0], dtype=torch.float64))
    dies = 1 / (1 + np.exp(-np.array([0.0, -1.0, 2.0])))
    assert prediction == pytest.approx(np.cumprod(1 - dies))
    document = kind.document(LIFE, prediction, 3)
    assert document["risk"] == pytest.approx(1 - prediction.mean())
    assert [each["time"] for each in document["survival"]] == [2, 6, 10]
    assert kind.text(LIFE, prediction) == f"{document['risk']:.4f}"
    assert (list(kind.names(LIFE)), kind.size(LIFE), kind.width(LIFE)) == (["2", "6", "10"], 3, 2)
    assert (kind.headings(LIFE), kind.cells(LIFE, (2.5, 1.0))) == (["time:life", "event:life"], ["2.5", "1"])
    assert kind.cells(LIFE, ()) == ["", ""]


def slow_concordance(times: np.ndarray, events: np.ndarray, risks: np.ndarray) -> float:
    right = pairs = 0.0
    for one, other in permutations(range(len(times)), 2):
        came_first = times[one] < times[other] or (times[one] == times[other] and not events[other])
        if events[one] and came_first:
            pairs += 1
            right += 1 if risks[one] > risks[other] else 0.5 if risks[one] == risks[other] else 0
    return right / pairs


def test_scores_by_their_definitions() -> None:
    rng = np.random.default_rng(0)
    times, events = rng.integers(0, 12, 40).astype(float), rng.integers(0, 2, 40)
    predictions = np.cumprod(rng.uniform(0.2, 1, (40, 3)).round(1), axis=1)
    answers = list(zip(times, events.astype(float), strict=True))
    scores = Survival().evaluate(LIFE, predictions, answers)
    risks = 1 - predictions.mean(axis=1)
    assert len(set(times)) < 40
    assert scores["c_index"] == pytest.approx(slow_concordance(times, events > 0, risks))
    assert (scores["events"], scores["censored"]) == (events.sum(), (1 - events).sum())
    each = []
    for (passed, event), curve in zip((Survival().row(LIFE, a) for a in answers), predictions, strict=True):
        came = 1.0 if passed == 0 else curve[int(passed) - 1]
        each.append(-np.log(max(came - curve[int(passed)] if event else came, 1e-12)))
    assert scores["loss"] == pytest.approx(np.mean(each))
    assert Survival().validate(LIFE, predictions, answers).scores == {"c_index": scores["c_index"]}


def test_a_c_index_without_a_pair_is_not_defined() -> None:
    assert concordance(np.array([1.0, 2.0]), np.array([False, False]), np.array([0.1, 0.2])) is None
    assert Survival().validate(LIFE, np.array([[0.9, 0.8, 0.7]]), [(1.0, 0.0)]).scores == {}


def test_impossible_bins_are_refused() -> None:
    Survival().check(LIFE)
    for scale in ((0.0, 1.0), (2.0, 1.0), (1.0, float("nan")), (1.0, float("inf"))):
        with pytest.raises(ValueError, match="has impossible ends of bins"):
            Survival().check(Target("life", "survival", (), outputs=2, scale=scale))
    with pytest.raises(ValueError, match=r"2 outputs, not 3|3 values of a scale, not 2"):
        Survival().check(Target("life", "survival", (), outputs=2, scale=(1.0, 2.0, 3.0)))
