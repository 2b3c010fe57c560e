"""The smallest factors are chosen that keep the loss on larger images; none where nothing is gained."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command_line import Fit
from support.runs import metrics

from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import load_dataset
from fitcli.device.runtime import choose_runtime
from fitcli.distributed.world import ALONE
from fitcli.images.array_image import ArrayReader
from fitcli.runs.targets import Target
from fitcli.runs.weights import model_hash
from fitcli.tasks.classify import validation
from fitcli.tasks.classify.calibration import (
    FACTORS,
    LEAST_IMAGES,
    TIMES,
    EnlargedLosses,
    choose_sharpening,
    enlarged_losses,
)
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.classify.validation import validate
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run
from models.groups import Groups
from models.pooling import AttentionPool
from models.sharpening import PLAIN, Sharpening

CPU = choose_runtime("cpu", "fp32")

Losses = Callable[[float, float, int], float]
"""From the size, the factor and the number of an image to a loss."""


def images(loss: Losses, count: int = 20, latents: int = 10) -> list[EnlargedLosses]:
    """Return images, of which one is twice as large as the others."""
    return [
        EnlargedLosses(latents * (1 + (number == 0)), [[loss(times, f, number) for f in FACTORS] for times in TIMES])
        for number in range(count)
    ]


def best_at(wanted: Callable[[float], float]) -> Losses:
    """Return losses that are lowest at the factor that is wanted for a size."""
    return lambda times, factor, number: 0.1 + (factor - wanted(times)) ** 2


def test_the_factors_are_those_with_the_lowest_loss() -> None:
    law = choose_sharpening(images(best_at(lambda times: 1 + 0.25 * math.log2(times))))
    # A factor that is smaller by 0.125 raises the loss by 0.016, which is tolerated; by 0.25, by 0.063: too much.
    assert (law.latents, law.factors) == ((20.0, 40.0, 80.0, 160.0), (1.0, 1.375, 1.625, 2.0))


def test_factors_do_not_fall_and_level_off() -> None:
    law = choose_sharpening(images(best_at(lambda times: 2.0 if times == 4 else 1.0)))
    assert law == choose_sharpening(images(best_at(lambda times: 2.0 if times >= 4 else 1.0)))
    assert (law.latents, law.factors) == ((20.0, 40.0), (1.0, 2.0))


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda times, factor, number: 0.0, id="nothing to gain"),
        pytest.param(lambda times, factor, number: 0.04 / factor if times > 1 else 0.0, id="hardly anything to gain"),
        pytest.param(lambda times, factor, number: 5.0 if times > 1 else 0.0, id="no factor helps"),
        pytest.param(best_at(lambda times: 1.0), id="larger images are right as they are"),
        pytest.param(lambda times, factor, number: math.nan, id="no numbers"),
        pytest.param(
            lambda times, factor, number: times - (factor if number == 7 else 0), id="the gain of one image alone"
        ),
    ],
)
def test_nothing_is_sharpened_where_nothing_is_gained(loss: Losses) -> None:
    assert choose_sharpening(images(loss)) == PLAIN


def test_a_few_images_choose_nothing() -> None:
    loss = best_at(lambda times: 2.0 if times > 1 else 1.0)
    assert choose_sharpening(images(loss, LEAST_IMAGES - 1)) == PLAIN
    assert choose_sharpening(images(loss, LEAST_IMAGES)) != PLAIN


def test_images_no_larger_than_those_of_validation_keep_their_scores() -> None:
    loss = best_at(lambda times: 3.0 if times > 1 else 1.0)
    for measured in (images(loss), images(loss, latents=1)):
        law, largest = choose_sharpening(measured), max(image.latents for image in measured)
        assert law != PLAIN
        scores = torch.randn(5)
        assert torch.equal(law.sharpen(scores, torch.tensor(float(largest))), scores)
        assert not torch.equal(law.sharpen(scores, torch.tensor(4.0 * largest)), scores)


def test_losses_are_those_of_the_answer() -> None:
    torch.manual_seed(0)
    head, latents = AttentionPool(8, 2, (3,)), torch.randn(6, 2, 8)
    logits = head(latents, Groups.of_grid(1, 1, 6)).logits.detach()
    one = enlarged_losses(head, latents, 2, ())
    assert one.latents == 12
    assert (len(one.losses), {len(row) for row in one.losses}) == (len(TIMES), {len(FACTORS)})
    expected = float(torch.nn.functional.cross_entropy(logits, torch.tensor([2])))
    assert one.losses[0][0] == pytest.approx(expected, rel=1e-5)
    several = (Target("label", "single-label", ("a", "b", "c")),)
    assert enlarged_losses(head, latents, ((2,),), several).losses[3] == pytest.approx(one.losses[3], rel=1e-5)


def test_validation_measures_the_images_that_it_reads(trained: Path, dataset: Path) -> None:
    checkpoint, samples = load_run(trained, CPU, CLASSIFY), load_dataset(dataset).validation
    taken: list[int] = []
    # The encoder runs once for each image.
    checkpoint.model.encoder.latent_norm.register_forward_hook(lambda *_: taken.append(1))
    scores = validate(checkpoint, samples, CPU, BadImages(0), ALONE, EncodingSettings())
    assert len(taken) == len(samples)
    assert scores.sharpening == PLAIN


CURVE = {"latents": [8.0, 16.0], "factors": [1.0, 1.5]}


def with_curve(trained: Path, folder: Path) -> Path:
    """Copy a run, as if its validation had chosen a sharpening."""
    run = Path(shutil.copytree(trained, folder))
    entries = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(entries | {"sharpening": CURVE}))
    return run


def test_a_run_is_asked_with_its_sharpening(trained: Path, tmp_path: Path) -> None:
    plain, sharp = (load_run(run, CPU, CLASSIFY) for run in (trained, with_curve(trained, tmp_path / "run")))
    assert plain.model.head.sharpening == PLAIN
    assert sharp.model.head.sharpening == Sharpening((8.0, 16.0), (1.0, 1.5))
    assert model_hash(plain) == model_hash(sharp)
    pixels = np.random.default_rng(0).integers(0, 255, (700, 4 * 128, 3), dtype=np.uint8)
    side = sharp.model.config.patch * sharp.model.config.group
    # A row of groups has at most 8 latents, and the whole image more.
    for rows, changes in ((side, False), (700, True)):
        image = ArrayReader(pixels[:rows])
        before, after = (
            classify_image(each, image, CPU, keep_evidence=True, keep_contributions=["red"]) for each in (plain, sharp)
        )
        assert np.array_equal(before.probabilities, after.probabilities) != changes
        assert after.evidence is not None
        assert after.evidence.sum() == pytest.approx(1, abs=1e-5)
        # The logit from the mean of both: half of the difference.
        logit = math.log(after.probabilities[1] / after.probabilities[0]) / 2
        shares = after.contributions("red")
        assert shares.values.sum(dtype=np.float64) + shares.bias == pytest.approx(logit, abs=1e-4)


def test_the_sharpening_is_kept_with_the_best_weights_and_no_part_of_the_training(
    fit: Fit, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, plain = tmp_path / "run", tmp_path / "plain"
    for out, curve in ((plain, PLAIN), (run, Sharpening((8.0, 16.0), (1.0, 1.5)))):
        monkeypatch.setattr(validation, "choose_sharpening", lambda images, curve=curve: curve)
        for options in (["--preset", "debug", "--epochs", "2", "--batch-size", "4"], ["--resume", "--epochs", "3"]):
            result = fit("train", dataset, "--out", out, *options)
            assert result.exit_code == 0, result.stderr
    config = json.loads((run / "config.json").read_text())
    assert config.pop("sharpening") == CURVE
    assert config == json.loads((plain / "config.json").read_text())
    assert "sharpening" not in json.loads((run / "last/config.json").read_text())
    assert metrics(run) == metrics(plain)
