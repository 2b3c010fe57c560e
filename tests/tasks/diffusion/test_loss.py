"""The loss of a denoiser beyond the reference data: self-conditioning, padding, and settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.denoisers import normal, ragged, random_denoiser

from fitcli.tasks.diffusion.loss import DiffusionBatch, DiffusionLoss, first_images
from fitcli.tasks.diffusion.parameterization import per_group
from models.checks import ConfigError
from models.denoiser import FITDenoiser
from models.groups import Groups


@pytest.fixture(scope="module")
def model() -> FITDenoiser:
    return random_denoiser()


def batch_of(parts: list[Groups], seed: int = 0) -> DiffusionBatch:
    groups = Groups.join(parts)
    count, images = len(groups.number), groups.images
    return DiffusionBatch(
        data=normal(count, 4, 3, seed=seed).clamp(-1, 1),
        groups=groups,
        noise=normal(count, 4, 3, seed=seed + 1),
        time=torch.linspace(0.1, 0.9, images).double(),
        condition=normal(images, 1, 5, seed=seed + 2),
        keep=torch.linspace(0.05, 0.95, images).double(),
    )


@pytest.mark.parametrize("by_masking", [False, True])
def test_self_conditioning_reaches_the_images_it_should(model: FITDenoiser, by_masking: bool) -> None:
    batch = batch_of(ragged())
    without = DiffusionLoss(self_condition_rate=0)(model, batch)[1].noise
    objective = DiffusionLoss(self_condition_rate=0.7, by_masking=by_masking)
    changed = (objective(model, batch)[1].noise - without).abs().flatten(1).amax(dim=1)
    expected = [False, True, True] if by_masking else [True, True, False]
    reached = per_group(torch.tensor(expected), batch.groups).flatten()
    assert torch.equal(changed > 1e-9, reached)


def test_padding_does_not_count_in_the_loss(model: FITDenoiser) -> None:
    batch = batch_of(ragged())
    mask = batch.groups.mask
    assert mask is not None
    model.requires_grad_(True)
    for objective in (DiffusionLoss(), DiffusionLoss(loss="x", prediction="v", normalize=True)):
        expected = objective(model, batch)[0]
        hidden = batch._replace(data=batch.data.masked_fill(~mask[..., None], float("nan")))
        loss = objective(model, hidden)[0]
        assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
        model.zero_grad()
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    model.requires_grad_(False)


def test_gradients_do_not_flow_through_the_first_run(model: FITDenoiser) -> None:
    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = model.config
            self.with_gradient: list[bool] = []

        def forward(self, *inputs: Any) -> Any:
            self.with_gradient.append(torch.is_grad_enabled())
            return model(*inputs)

    counting = Counting()
    DiffusionLoss()(counting, batch_of(ragged()))  # type: ignore[arg-type]
    assert counting.with_gradient == [False, True]


def test_first_images_are_the_first_of_the_list() -> None:
    parts = ragged()
    groups, expected = first_images(Groups.join(parts), 2), Groups.join(parts[:2])
    assert groups.counts() == expected.counts()
    assert torch.equal(groups.coordinates, expected.coordinates)
    assert first_images(Groups.of_grid(3, 2, 2), 2).counts() == [4, 4]


@pytest.mark.parametrize("weighting", ["none", "min-snr", "sigmoid"])
def test_weights_by_the_signal_to_noise_ratio(weighting: Any) -> None:
    ratio = torch.logspace(-8, 8, 33, dtype=torch.float64)
    gamma = ratio / (1 + ratio)
    of_data = {
        "none": torch.ones_like(ratio),
        "min-snr": ratio.clamp_max(5),
        "sigmoid": ratio * torch.sigmoid(2 - ratio.log()),
    }[weighting]
    found = {loss: DiffusionLoss(loss=loss, weighting=weighting).weight(gamma) for loss in ("x", "eps", "v")}  # type: ignore[arg-type]
    torch.testing.assert_close(found["x"], of_data, rtol=1e-6, atol=0)
    if weighting != "none":
        torch.testing.assert_close(found["eps"], of_data / ratio, rtol=1e-6, atol=0)
        torch.testing.assert_close(found["v"], of_data / (ratio + 1), rtol=1e-6, atol=0)
    for each in found.values():
        assert torch.isfinite(each).all()
    if weighting != "none":
        most = {"min-snr": 5.0, "sigmoid": math.exp(2)}[weighting]
        for dtype in (torch.float64, torch.float32):
            ends = torch.tensor([0.0, 1.0], dtype=dtype)
            weights = [
                DiffusionLoss(loss=loss, weighting=weighting).weight(ends).tolist()  # type: ignore[arg-type]
                for loss in ("x", "eps", "v")
            ]
            assert weights[0] == [0, pytest.approx(most)], "no time without noise has the weight 0"
            assert weights[1:] == [[pytest.approx(1), 0], [0, 0]]


@pytest.mark.parametrize("weighting", ["min-snr", "sigmoid"])
def test_a_weighted_loss_is_the_same_whatever_is_compared(model: FITDenoiser, weighting: Any) -> None:
    batch = batch_of(ragged())
    losses = [
        DiffusionLoss(loss=loss, prediction="v", clip=None, weighting=weighting, self_condition_rate=0)(model, batch)[0]
        for loss in ("x", "eps", "v")
    ]
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-6)
    assert losses[2].item() == pytest.approx(losses[0].item(), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weighting": "snr"}, "'snr'"),
        ({"loss": "w"}, "'w'"),
        ({"self_condition_rate": 2.0}, "2.0"),
        ({"scale": 0.0}, "0.0"),
    ],
)
def test_objectives_without_meaning_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DiffusionLoss(**changes)


def test_masking_needs_a_number_per_image(model: FITDenoiser) -> None:
    with pytest.raises(ValueError, match="number per image"):
        DiffusionLoss(by_masking=True)(model, batch_of(ragged())._replace(keep=None))
