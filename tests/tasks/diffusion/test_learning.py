"""Training and sampling mean the same by data, noise and time: what was learned comes out."""

from __future__ import annotations

import pytest
import torch

from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.loss import DiffusionBatch, DiffusionLoss
from fitcli.tasks.diffusion.parameterization import PredictionKind
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Sampling
from models.build import build
from models.config import DenoiserConfig
from models.groups import Groups

STEPS, BATCH = 300, 16


@pytest.mark.walk(1)
@pytest.mark.parametrize(("prediction", "sampler"), [("eps", "ddpm"), ("x", "ddim"), ("v", "dpm")])
def test_a_model_of_one_image_generates_it(prediction: PredictionKind, sampler: str) -> None:
    generator = torch.Generator().manual_seed(0)
    config = DenoiserConfig(
        plan="(1)1(1)", tokens=16, latents=2, token_width=32, latent_width=32, token_heads=2, latent_heads=2,
        values=4, out_values=4, condition_width=None, self_condition=True,
    )  # fmt: skip
    model = build(config, seed=0)
    image = torch.rand(1, 16, 4, generator=generator).round() * 1.6 - 0.8
    data, groups = image.repeat(BATCH, 1, 1), Groups.of_grid(BATCH, 1, 1)
    objective = DiffusionLoss(prediction=prediction, loss=prediction, clip=None, by_masking=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.98))
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(1, (step + 1) / 25) * (1 - step / STEPS)
        noise, time, keep = torch.randn(data.shape, generator=generator), *torch.rand(2, BATCH, generator=generator)
        loss, _ = objective(model, DiffusionBatch(data, groups, noise, time, keep=keep))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    sampling = Sampling(steps=25, sampler=find_step(sampler), prediction=prediction)
    drawn = generate(
        model.eval(), sampling, Groups.of_grid(1, 1, 1), torch.randn(image.shape, generator=generator),
        step_noise=lambda step: torch.randn(image.shape, generator=generator),
    )  # fmt: skip
    # A value that is guessed is 0.8 off.
    assert (drawn - image).abs().mean() < 0.2
