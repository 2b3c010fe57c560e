"""The sampling loop refuses what has no meaning, and draws no noise that a sampler ignores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.denoisers import normal, random_denoiser
from torch import Tensor

from fitcli.tasks.diffusion.in_memory import Trace, generate
from fitcli.tasks.diffusion.sampling import Sampling
from models.checks import ConfigError
from models.denoiser import FITDenoiser
from models.groups import Groups


@pytest.fixture(scope="module")
def model() -> FITDenoiser:
    return random_denoiser()


def test_deterministic_samplers_draw_no_noise(model: FITDenoiser) -> None:
    def never(_: int) -> Tensor:
        raise AssertionError("noise was drawn")

    generate(model, Sampling(steps=2), Groups.of_grid(1, 1, 2), normal(2, 4, 3), step_noise=never)


def test_guidance_needs_a_condition(model: FITDenoiser) -> None:
    with pytest.raises(ValueError, match=r"guidance 1\.5"):
        generate(model, Sampling(steps=2, guidance=1.5), Groups.of_grid(1, 1, 2), normal(2, 4, 3))


@pytest.mark.parametrize(("guided", "passes"), [((0.0, 1.0), 8), ((0.5, 1.0), 7), ((0.4, 0.8), 6), ((0.1, 0.2), 4)])
def test_steps_outside_of_the_times_of_guidance_are_not_guided(guided: tuple[float, float], passes: int) -> None:
    """Steps start at the times 1, 0.75, 0.5 and 0.25; only those within are guided."""
    model = random_denoiser()
    calls = list[Tensor]()
    model.register_forward_pre_hook(lambda _, arguments: calls.append(arguments[3]))
    groups, initial, condition = Groups.of_grid(1, 1, 2), normal(2, 4, 3), normal(1, 1, 5)
    traces = list[Trace]()
    sampling = Sampling(steps=4, guidance=1.5, guided=guided, clip=None)
    generate(model, sampling, groups, initial, condition, callback=traces.append)
    assert len(calls) == passes
    for trace in traces:
        time = 1 - trace.step / 4
        assert (trace.unconditional is not None) == (guided[0] <= time <= guided[1])
        both = trace.output if trace.unconditional is None else 2.5 * trace.output - 1.5 * trace.unconditional
        # The network predicts the noise, and nothing is clipped.
        torch.testing.assert_close(trace.noise, both)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "not 0"),
        ({"decay": 1.5}, "1.5"),
        ({"time_difference": -1.0}, "-1.0"),
        ({"guided": (0.6, 0.5)}, "0.6"),
    ],
)
def test_sampling_without_meaning_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Sampling(**{"steps": 4} | changes)
