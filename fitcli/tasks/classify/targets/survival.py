"""`time:NAME` and `event:NAME`: how long an image's patient was followed, and whether the event happened then.

The loss is that of discrete-time hazards (nnet-survival: Gensheimer and Narasimhan 2019, arXiv:1805.00917): time is cut
into bins, and an output per bin is the logit of the event in it, for those who came so far. It needs no comparison of
images within a batch, as the Cox loss does. A censored image (event 0) counts for the bins of which it passed at least
half. Bins end at quantiles of the event times of the training images, the last one at their longest time; they are kept
in `config.json` as the scale of the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fitcli.data.column_kinds import Answer, LabelColumn, empty_column
from fitcli.errors import DataError
from fitcli.reports.parts import Part
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.cell_numbers import cell_number, count_known, number_text
from fitcli.tasks.classify.targets.continuation import continuation_loss, likelihood_loss, passing
from fitcli.tasks.classify.targets.kind import Numbers, TargetKind, TargetScores, require, without_none
from fitcli.tasks.classify.targets.value_charts import survival_parts

MOST_BINS, EVENTS_PER_BIN = 8, 5
"""Largest number of bins, and least number of events of the training images in each."""


class Survival(TargetKind):
    """Time until an event; see `TargetKind` for the members. A prediction holds the probability of surviving each bin.

    The text of an image is its time and its event, such as "12.5 1".
    """

    name = "survival"
    words = ("time", "event")

    def read(self, column: LabelColumn, cells: Sequence[str]) -> str:
        time, event = cells
        if not (time or event):
            return ""
        if not (time and event):
            filled, empty = column.headings if time else reversed(column.headings)
            raise ValueError(f"has {filled}, but {empty} is empty; fill in both, or leave both empty if not known")
        (time_heading, event_heading), happened = column.headings, cell_number(column.headings[1], event)
        if cell_number(time_heading, time) < 0:
            raise ValueError(f"{time_heading} {time!r} is below zero; count from the beginning of the observation")
        if happened not in (0, 1):
            raise ValueError(
                f"{event_heading} {event!r} is neither 0 (censored) nor 1 (the event happened); correct it"
            )
        return f"{time} {happened:.0f}"

    def target(self, data: Path, column: LabelColumn, texts: Sequence[str], train: Sequence[str] | None) -> Target:
        if not any(texts):
            raise empty_column(data, column)
        ends = () if train is None else _bin_ends(data, column, [_pair(text) for text in train if text])
        return Target(column.name, self.name, (), outputs=max(1, len(ends)), scale=ends)

    def answer(self, target: Target, text: str) -> Answer:
        return _pair(text) if text else ()

    def describe(self, target: Target, train: Sequence[Answer], validation: Sequence[Answer]) -> str:
        events, censored = (
            " + ".join(str(sum(answer[1] == event for answer in answers if answer)) for answers in (train, validation))
            for event in (1, 0)
        )
        ends = ", ".join(map(number_text, target.scale))
        return (
            f"{target.column} (training + validation): {events} events (event 1), {censored} censored (event 0); "
            f"{count_known(train, validation)}; bins end at {ends}"
        )

    def check(self, target: Target) -> None:
        require(target, classes=0, outputs=max(1, len(target.scale)), scale=target.outputs)
        steps = [end - start for start, end in pairwise((0, *target.scale))]
        if not all(0 < step < math.inf for step in steps):
            raise ValueError(f"target {target.name!r} has impossible ends of bins: {target.scale}")

    def width(self, target: Target) -> int:
        return 2

    def row(self, target: Target, answer: Answer) -> Sequence[float]:
        """Return the number of bins that were passed, and whether the event happened in the next one."""
        time, event = answer
        starts_and_ends = pairwise((0, *target.scale))
        if event:
            return [float(np.searchsorted(target.scale[:-1], time)), 1.0]
        return [float(sum(time >= (start + end) / 2 for start, end in starts_and_ends)), 0.0]

    def loss(self, target: Target, outputs: Tensor, rows: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        return continuation_loss(outputs, rows)

    def match(self, data: Path, own: Target, target: Target, answer: Answer) -> Answer:
        return answer

    def predict(self, target: Target, outputs: Tensor) -> Numbers:
        return passing(outputs)

    def names(self, target: Target) -> Sequence[str]:
        return [number_text(end) for end in target.scale]

    def text(self, target: Target, prediction: Numbers) -> str:
        return f"{_risks(prediction[None])[0]:.4f}"

    def document(self, target: Target, prediction: Numbers, top_k: int) -> dict[str, Any]:
        survival = zip(target.scale, prediction.tolist(), strict=True)
        return {
            "risk": float(_risks(prediction[None])[0]),
            "survival": [{"time": time, "probability": probability} for time, probability in survival],
        }

    def headings(self, target: Target) -> Sequence[str]:
        return [f"{word}:{target.name}" for word in self.words]

    def cells(self, target: Target, answer: Answer) -> Sequence[str]:
        return [repr(answer[0]), f"{answer[1]:.0f}"] if answer else ["", ""]

    def validate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> TargetScores:
        scores = self.evaluate(target, predictions, answers)
        return TargetScores(scores["loss"], without_none({"c_index": scores["c_index"]}))

    def evaluate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> dict[str, Any]:
        """Return Harrell's C-index of the risks, the numbers of events and of censored images, and the loss.

        The C-index is None if there is no pair of images of which it is known which event came first.
        """
        times, events = np.array(answers).T
        rows = np.array([self.row(target, answer) for answer in answers])
        return {
            "c_index": concordance(times, events > 0, _risks(predictions)),
            "loss": likelihood_loss(predictions, rows),
            "events": int(events.sum()),
            "censored": int((1 - events).sum()),
        }

    def report(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> list[Part]:
        times, events = np.array(answers).T
        return survival_parts(_risks(predictions), times, events > 0)


def concordance(times: Numbers, events: Any, risks: Numbers) -> float | None:
    """Return Harrell's C-index (1982, doi:10.1001/jama.1982.03320430047030); None without a comparable pair.

    A pair is comparable if the event of one image came before the time of the other, or at the same time if the other
    is censored. It is right if the first one has the higher risk; equal risks count half.
    """
    right = pairs = 0.0
    for time, risk in zip(times[events], risks[events], strict=True):
        later = (times > time) | ((times == time) & ~events)
        pairs += np.count_nonzero(later)
        right += np.count_nonzero(risks[later] < risk) + np.count_nonzero(risks[later] == risk) / 2
    return float(right / pairs) if pairs else None


def _risks(survival: Numbers) -> Numbers:
    """Return the risk of each image: 1 minus the mean over the bins of the probability of surviving them [i o]."""
    return np.asarray(1 - survival.mean(axis=1))


def _pair(text: str) -> tuple[float, float]:
    time, event = map(float, text.split())
    return time, event


def _bin_ends(data: Path, column: LabelColumn, pairs: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Return the ends of the bins of time, from the times and events of the training images."""
    where, events = f"{data}, column {column.heading}", np.array([time for time, event in pairs if event])
    if not len(events):
        raise DataError(f"{where}: no training image has an event (1), so there is nothing to learn; leave it out")
    longest = max(time for time, _ in pairs)
    if len({time for time, _ in pairs}) < 2:
        raise DataError(f"{where}: all training images have the time {number_text(longest)}; leave it out")
    bins = min(MOST_BINS, max(1, len(events) // EVENTS_PER_BIN))
    inner = np.quantile(events, np.arange(1, bins) / bins).tolist()
    return (*sorted({end for end in inner if 0 < end < longest}), longest)
