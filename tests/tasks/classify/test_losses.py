"""The loss of one class per image, in batches of any size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command_line import Fit
from support.data_sets import table
from support.packages import restored
from support.small_runs import two_classes
from torch import Tensor

from fitcli.tasks.classify.losses import LOSSES, mean_cross_entropy
from fitcli.tasks.classify.objective import balanced_weights


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8, 16, 20])
def test_a_rare_class_has_its_share_of_the_loss_in_batches_of_any_size(batch_size: int) -> None:
    """Of 95 and 5 images the rare class has half of the balanced loss, as its class weights intend."""
    labels = torch.tensor(([0] * 19 + [1]) * 5)
    weights, logits = balanced_weights(labels, 2), torch.zeros(100, 2)

    def total(weights: torch.Tensor) -> float:
        """The loss over all images: each batch counts by its number of images."""
        batches = zip(logits.split(batch_size), labels.split(batch_size), strict=True)
        return sum(float(mean_cross_entropy(own, held, weights, 0.0)) * len(held) for own, held in batches)

    rare = total(weights * torch.tensor([0.0, 1.0])) / total(weights)
    assert rare == pytest.approx(0.5)


@pytest.fixture
def _forget() -> Iterator[None]:
    with restored(LOSSES):
        yield


@pytest.mark.usefixtures("_forget")
def test_a_run_learns_the_loss_that_is_named_and_resumes_with_it(fit: Fit, tmp_path: Path) -> None:
    seen = []

    def squared(logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        seen.append((list(logits.shape), labels.tolist(), None if weights is None else list(weights.shape), smoothing))
        return (1 - logits.softmax(1).gather(1, labels[:, None])).square().mean()

    data, run = two_classes(tmp_path / "data"), tmp_path / "run"
    small = ["--preset", "debug", "--batch-size", "2", "--device", "cpu"]
    options = [data, "--out", run, *small, "--loss", "squared", "--balance", "--label-smoothing", "0.1"]
    missing = "there is cross-entropy; install the package that has it"
    refused = fit("train", *options, "--epochs", "1")
    assert (refused.exit_code, refused.stderr) == (1, f"error: --loss squared: no such loss; {missing}\n")
    LOSSES.register("squared", squared)
    assert fit("train", *options, "--epochs", "1").exit_code == 0
    assert len(seen) == 4
    assert all((shape, weights, smoothing) == ([2, 2], [2], 0.1) for shape, _, weights, smoothing in seen)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert losses
    assert all(0 < loss < 0.6 for loss in losses), "that of an untrained model is 0.25, the cross-entropy 0.7"

    LOSSES._parts.pop("squared")
    resumed = fit("train", data, "--out", run, "--resume", "--epochs", "2", "--device", "cpu")
    assert resumed.exit_code == 1
    assert f"no loss 'squared'; {missing}" in resumed.stderr
    # What was learned needs no loss.
    assert fit("classify", next(data.rglob("*.png")), "--checkpoint", run, "--device", "cpu").exit_code == 0
    LOSSES.register("squared", squared)
    assert fit("train", data, "--out", run, "--resume", "--epochs", "2", "--device", "cpu").exit_code == 0
    assert len(seen) == 8


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize(
    ("result", "shown"), [(torch.ones(2), r"a tensor \[2\]"), (0.5, "0.5"), (None, "None")], ids=str
)
def test_a_loss_that_is_no_mean_is_refused(fit: Fit, tmp_path: Path, result: object, shown: str) -> None:
    wrong: Any = lambda logits, labels, weights, smoothing: result  # noqa: E731
    LOSSES.register("wrong", wrong)
    data = two_classes(tmp_path / "data", images=2)
    done = fit("train", data, "--out", tmp_path / "run", "--preset", "debug", "--loss", "wrong", "--device", "cpu")
    assert done.exit_code == 1
    assert re.search(f"error: loss 'wrong' must return one number, the mean over the images, not {shown}", done.stderr)


def fail(logits: Tensor, *_: object) -> Tensor:
    raise KeyError("gamma")


@pytest.mark.usefixtures("_forget")
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (fail, r"loss 'wrong' failed \(KeyError: 'gamma'\)"),
        (
            lambda logits: logits.sum(),
            r"loss 'wrong' failed \(TypeError: .* takes 1 positional argument but 4 were given",
        ),
        (lambda logits, *_: torch.zeros(()), "loss 'wrong' returns a number that does not depend on the logits"),
        (lambda logits, *_: logits.sum() * torch.nan, "the loss became nan in step 1"),
    ],
    ids=["raises", "takes less", "constant", "nan"],
)
def test_a_loss_that_fails_is_one_line(fit: Fit, tmp_path: Path, loss: Any, message: str) -> None:
    LOSSES.register("wrong", loss)
    data = two_classes(tmp_path / "data", images=2)
    done = fit("train", data, "--out", tmp_path / "run", "--preset", "debug", "--loss", "wrong", "--device", "cpu")
    assert done.exit_code == 1
    assert re.search(f"error: {message}", done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("_forget")
def test_it_is_for_one_class_per_image(fit: Fit, tmp_path: Path) -> None:
    LOSSES.register("zero", lambda logits, labels, weights, smoothing: logits.sum() * 0)
    two_classes(tmp_path)
    rows = [f"{label}/{n}.png,{label},{n}" for label in ("dark", "light") for n in range(5)]
    data = table(tmp_path, "path,label:tone,value:number", *rows)
    done = fit("train", data, "--out", tmp_path / "run", "--preset", "debug", "--loss", "zero", "--device", "cpu")
    assert done.exit_code == 1
    assert "--loss: is for one class per image, and the data set has label:tone, value:number" in done.stderr
