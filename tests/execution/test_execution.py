"""Every execution of a step gives the loss and the gradients of plain autograd through the whole model."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.steps import CONFIGS, DECODER, PLANS, Step, assert_same_gradients
from torch import Tensor, nn

from fitcli.data.batch import Batch
from fitcli.execution.job import Job, LatentLoss, largest_handful
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.streaming.token_store import MemoryStore
from fitcli.tasks.classify.objective import ClassificationObjective
from fitcli.tasks.classify.step import classification_job
from fitcli.tasks.diffusion.step import denoising_job, mean_square
from models.build import build
from models.config import DecoderConfig
from models.groups import Groups
from models.presets import classifier_preset


@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", CONFIGS)
def test_equal_to_plain_autograd(name: str, kind: str) -> None:
    step = Step(CONFIGS[name], kind)
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    assert any(gradient is not None for gradient in expected.values())
    for plan_name, plan in {"plain": ExecutionPlan(), **PLANS}.items():
        outcome = run_job(step.job(), plan)
        assert not outcome.loss.requires_grad
        assert abs(outcome.loss / loss.detach() - 1) < 1e-12, plan_name
        assert_same_gradients(step.gradients(), expected, 1e-9)


@pytest.mark.parametrize("name", ["classifier", "denoiser", "decoder"])
def test_loss_is_the_same_to_the_bit_in_float32(name: str) -> None:
    step = Step(CONFIGS[name], "ragged", torch.float32)
    plain = run_job(step.job(), ExecutionPlan()).loss
    for plan_name, plan in PLANS.items():
        assert torch.equal(run_job(step.job(), plan).loss, plain), plan_name


@pytest.mark.parametrize("name", ["classifier", "denoiser", "decoder"])
def test_autocast_keeps_gradients_close(name: str) -> None:
    """Against float32, no execution may be much further off than plain bfloat16 is."""
    step = Step(CONFIGS[name], "ragged", torch.float32)
    run_job(step.job(), ExecutionPlan())
    exact = step.gradients()
    with torch.autocast("cpu", torch.bfloat16):
        plain = run_job(step.job(), ExecutionPlan()).loss
        allowed = 1.5 * distance(step.gradients(), exact)
        for plan_name, plan in PLANS.items():
            loss = run_job(step.job(), plan).loss
            assert abs(loss / plain - 1) < 1e-2, plan_name
            assert 0 < distance(step.gradients(), exact) < allowed, plan_name
        assert torch.is_autocast_enabled("cpu")
        assert torch.is_autocast_cache_enabled()


def distance(found: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> float:
    """Relative, of all gradients together."""
    pairs = [(found[name], gradient) for name, gradient in expected.items() if gradient is not None]
    error = sum(float((other - gradient).square().sum()) for other, gradient in pairs if other is not None)
    return float((error / sum(float(gradient.square().sum()) for _, gradient in pairs)) ** 0.5)


@pytest.mark.parametrize("name", PLANS)
def test_gradients_add_up_with_their_weights(name: str) -> None:
    step = Step(CONFIGS["denoiser"])
    run_job(step.job(), ExecutionPlan())
    once = step.gradients()
    losses = [run_job(step.job(), PLANS[name], weight).loss for weight in (0.5, 2.0)]
    assert torch.equal(*losses), "the weight is not part of the loss"
    expected = {key: None if gradient is None else 2.5 * gradient for key, gradient in once.items()}
    assert_same_gradients(step.gradients(), expected, 1e-9)


def test_frozen_parameters_get_no_gradients() -> None:
    step = Step(CONFIGS["classifier"])
    step.model.encoder.embed.requires_grad_(False)
    step.model.encoder.start.requires_grad_(False)
    step.plain().backward()
    expected = step.gradients()
    for plan in PLANS.values():
        run_job(step.job(), plan)
        assert_same_gradients(step.gradients(), expected, 1e-9)


def test_a_caller_without_gradients_gets_them_all_the_same() -> None:
    step = Step(CONFIGS["classifier"])
    step.plain().backward()
    expected = step.gradients()
    for plan in PLANS.values():
        with torch.no_grad():
            run_job(step.job(), plan)
        assert_same_gradients(step.gradients(), expected, 1e-9)


def test_the_conclusion_puts_out_logits() -> None:
    step = Step(CONFIGS["classifier"])
    expected = step.model(step.patches(slice(None)), step.groups).logits.detach()
    for plan in PLANS.values():
        output = run_job(step.job(), plan).output
        assert output is not None
        assert not output.requires_grad
        assert (output - expected).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["classifier", "decoder"])
def test_stores_give_the_same_bits(name: str) -> None:
    step = Step(CONFIGS[name], "ragged", torch.float32)
    found = []
    for store in ("device", "host", "disk"):
        run_job(step.job(), ExecutionPlan(kind="stream", handful=2, store=store))
        found.append(step.gradients())
    for other in found[1:]:
        assert_same_gradients(other, found[0], 0)


class RecordedStore(MemoryStore):
    """Knows whether it was closed, and how many groups it was asked for at a time."""

    opened: list[RecordedStore]
    largest = 0

    def __init__(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, dtype, device)
        self.closed = False
        self.opened.append(self)

    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        self.largest = max(self.largest, part.stop - part.start)
        return super().get(part)

    def close(self) -> None:
        super().close()
        self.closed = True


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[RecordedStore]:
    monkeypatch.setattr(RecordedStore, "opened", [], raising=False)
    return RecordedStore.opened


def test_stores_are_released(stores: list[RecordedStore]) -> None:
    step = Step(CONFIGS["classifier of many segments"])
    run_job(step.job(), ExecutionPlan(kind="stream", handful=2), new_store=RecordedStore)
    assert len(stores) == 2
    assert all(store.closed and store.largest == 2 for store in stores)


@pytest.mark.parametrize("calls", [0, 3, 8, 13])
def test_an_error_at_any_time_releases_the_stores(calls: int, stores: list[RecordedStore]) -> None:
    """Embedding happens 8 times forward, and 8 times when the first segment is replayed."""
    step = Step(CONFIGS["classifier of many segments"], "whole")
    left = itertools.count(calls, -1)

    def broken(part: slice) -> Tensor:
        if next(left) == 0:
            raise OSError("the reader fails")
        return step.patches(part)

    job = classification_job(step.model, step.groups, broken, step.cross_entropy)
    with pytest.raises(OSError, match="the reader fails"):
        run_job(job, ExecutionPlan(kind="stream", handful=1), new_store=RecordedStore)
    assert all(store.closed for store in stores)
    assert len(stores) == (2 if calls >= 8 else int(calls > 0))
    # A replay that failed leaves nothing behind that would disturb the next step.
    step.gradients()
    step.plain().backward()
    expected = step.gradients()
    run_job(step.job(), ExecutionPlan(kind="stream", handful=1))
    assert_same_gradients(step.gradients(), expected, 1e-9)


@pytest.mark.parametrize("kind", ["recompute", "stream"])
def test_never_more_than_a_handful(kind: Any) -> None:
    step = Step(CONFIGS["denoiser"], "whole")
    asked: list[slice] = []

    def recorded(part: slice) -> Tensor:
        asked.append(part)
        return step.patches(part)

    loss = mean_square(step.groups, lambda part: step.noise[part])
    job = denoising_job(step.model, step.groups, recorded, step.level, loss, step.condition, step.previous)
    run_job(job, ExecutionPlan(kind=kind, handful=3))
    assert {(part.start, part.stop) for part in asked} == {(0, 3), (3, 6), (6, 8)}
    assert len(asked) == 6, "once forward, once in the replay"


def test_gradients_are_those_of_finite_differences() -> None:
    step = Step(CONFIGS["decoder"], "whole")
    run_job(step.job(), PLANS["streamed"])
    gradients = step.gradients()
    parameters: dict[str, nn.Parameter] = dict(step.model.named_parameters())
    for name in ("embedding.weight", "start.table", "trunk.segments.0.mix.stack.layers.0.attention.out.weight"):
        gradient, parameter = gradients[name], parameters[name]
        assert gradient is not None
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-5 * gradient
                losses.append(float(step.plain()))
                parameter -= sign * 1e-5 * gradient
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(gradient.square().sum()), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "fast"}, "kind must be one of plain, layers"),
        ({"store": "tape"}, "store must be one of"),
        ({"global_layers": "some"}, "global_layers must be one of"),
        ({"handful": 0}, "at least one group, not 0"),
        ({"keep": 1.5}, r"keep must lie in \[0, 1\], not 1.5"),
        ({"kind": "recompute", "global_layers": "rerun"}, '"rerun" needs the kind "stream"'),
    ],
)
def test_plans_that_cannot_be(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ExecutionPlan(**values)


def test_jobs_that_learn_nothing_are_refused() -> None:
    step = Step(CONFIGS["denoiser"])
    loss_from_latents: Callable[[Tensor], LatentLoss] = lambda latents: LatentLoss(latents.sum())  # noqa: E731
    for changes in ({"loss_from_latents": None}, {"loss_from_latents": loss_from_latents}):
        with pytest.raises(ValueError, match="nothing depends on the last segment"):
            Job(trunk=step.model.trunk, groups=step.groups, embed=step.patches, start=torch.zeros, **changes)


def test_a_loss_may_come_from_tokens_and_latents() -> None:
    step = Step(CONFIGS["classifier"])
    encoder, groups = step.model.encoder, step.groups

    def job() -> Job:
        return Job(
            trunk=encoder.trunk,
            groups=groups,
            embed=lambda part: encoder.embed(step.patches(part), groups.mask[part]),
            start=lambda: encoder.start(groups, encoder.start.table),
            loss_from_tokens=lambda part, tokens: encoder.token_norm(tokens).sin().sum(dim=(1, 2)),
            loss_from_latents=lambda latents: LatentLoss(encoder.latent_norm(latents).cos().sum()),
        )

    features = encoder(step.patches(slice(None)), groups)
    (features.tokens.sin().sum() + features.latents.cos().sum()).backward()
    expected = step.gradients()
    for plan in PLANS.values():
        run_job(job(), plan)
        assert_same_gradients(step.gradients(), expected, 1e-9)


def test_handfuls_stay_below_what_attention_takes() -> None:
    """25,600 x 25,600 pixels are 10,000 groups: more heads, and more values in a layer, than one call takes."""
    config = classifier_preset("base", channels=3, classes=2)
    assert largest_handful(config) == 4095 == (2**31 - 1) // (256 * 4 * 512)
    assert largest_handful(replace(config, tokens=16)) == 8191 == 65_535 // 8
    model, groups = build(config, "meta"), Groups.of_grid(images=1, rows=100, columns=100)
    job = classification_job(model, groups, lambda part: torch.empty(0), torch.sum)
    assert [part.stop for part in job.parts(20_000)] == [4095, 8190, 10_000]
    assert largest_handful(DecoderConfig(plan="(1)1(1)", **DECODER | {"tokens": 2**20, "vocabulary": 2**9})) == 3


def test_the_objective_of_training_is_the_same_in_every_execution() -> None:
    step = Step(CONFIGS["classifier"], "ragged", torch.float32)
    count = len(step.groups.number)
    gain, shift = torch.linspace(0.9, 1.1, count)[:, None, None], torch.linspace(-0.1, 0.1, count)[:, None, None]
    batch = Batch(step.pixels, step.groups, step.labels, gain, shift)
    mean, std, weights = torch.full((3,), 120.0), torch.full((3,), 60.0), torch.tensor([1.0, 2.0, 0.5, 1.5])
    objective = ClassificationObjective(mean, std, weights, smoothing=0.1, run=None)  # type: ignore[arg-type]
    logits = step.model((step.pixels - mean.repeat(4)) / std.repeat(4) * gain + shift, step.groups).logits
    loss = F.cross_entropy(logits, step.labels, weights, label_smoothing=0.1)
    loss.backward()
    expected = step.gradients()
    for plan in (ExecutionPlan(), *PLANS.values()):
        outcome = run_job(objective.job(step.model, batch), plan)
        assert outcome.loss == pytest.approx(float(loss.detach()), rel=1e-5)
        assert_same_gradients(step.gradients(), expected, 1e-4)
