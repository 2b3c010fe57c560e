"""Batches of images are sampled as each image alone, by the definition of the steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from support.denoisers import CONFIG, normal, ragged, random_denoiser

from fitcli.tasks.diffusion.in_memory import Trace, generate
from fitcli.tasks.diffusion.samplers import PreviousStep, ddpm_large, dpm
from fitcli.tasks.diffusion.sampling import Sampling
from models.build import build
from models.denoiser import FITDenoiser
from models.groups import Groups


@pytest.fixture(scope="module")
def model() -> FITDenoiser:
    return random_denoiser()


def test_images_are_sampled_the_same_alone_and_together(model: FITDenoiser) -> None:
    parts = ragged()
    groups, count = Groups.join(parts), sum(len(part.number) for part in parts)
    initial, condition, z = normal(count, 4, 3), normal(3, 1, 5, seed=1), normal(5, count, 4, 3, seed=2)
    sampling = Sampling(steps=5, sampler=ddpm_large, prediction="v", guidance=0.7, decay=0.3, normalize=True)
    together, start = generate(model, sampling, groups, initial, condition, lambda k: z[k]), 0
    for image, part in enumerate(parts):
        own = slice(start, start + len(part.number))
        alone = generate(model, sampling, part, initial[own], condition[[image]], lambda k, own=own: z[k, own])
        real = slice(None) if part.mask is None else part.mask
        assert (together[own][real] - alone[real]).abs().max() < 1e-9
        start = own.stop


def test_one_step_of_the_truth_is_the_data(model: FITDenoiser) -> None:
    traces: list[Trace] = []
    groups = Groups.of_grid(1, 1, 2)
    sampling = Sampling(steps=3, prediction="x", clip=None)
    result = generate(model, sampling, groups, normal(2, 4, 3), normal(1, 1, 5), callback=traces.append)
    assert [trace.step for trace in traces] == [0, 1, 2]
    assert torch.equal(result, traces[-1].data)
    assert torch.equal(traces[-1].data, traces[-1].output)
    assert all(trace.unconditional is None for trace in traces)
    assert all(one.gamma_next == two.gamma_now for one, two in pairwise(traces))


def test_in_the_loop_it_remembers_the_step_before() -> None:
    model, groups = build(CONFIG).double().eval(), Groups.join(ragged())
    initial, traces = normal(len(groups.number), 4, 3), list[Trace]()
    condition = normal(3, 1, 5, seed=2)
    result = generate(model, Sampling(steps=4, sampler=dpm), groups, initial, condition, callback=traces.append)
    x, earlier = initial, None
    for trace in traces:
        x = dpm(x, trace.data, trace.noise, trace.gamma_now, trace.gamma_next, None, earlier)
        earlier = PreviousStep(trace.data, trace.gamma_now)
        assert torch.equal(x, trace.samples)
    assert torch.equal(result, traces[-1].data)
    assert torch.isfinite(x).all()
