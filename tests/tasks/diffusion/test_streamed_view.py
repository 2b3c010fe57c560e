"""Sampling with patches at rest gives what sampling in memory gives."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from support.batches import CONDITION, PATCH, VALUES, denoiser_config, live
from torch import Tensor

from fitcli.noise import group_noise
from fitcli.streaming.sweeps import Sink, Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout, open_canvas
from fitcli.tasks.diffusion.grid_blend import GridBlend
from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Hooks, Quantity, Sampling, SamplingState, sample
from fitcli.tasks.diffusion.schedules import parse_schedule
from fitcli.tasks.diffusion.streamed_view import StreamedView

CPU = torch.device("cpu")
ROWS, COLUMNS, GROUP = 6, 4, 2
LAYOUT = CanvasLayout(ROWS, COLUMNS, GROUP)
CONDITIONS = torch.eye(CONDITION)[2].reshape(1, 1, CONDITION)


def settings(sampler: str = "ddim", guidance: float = 0.0, **changes: object) -> Sampling:
    plain = {"steps": 4, "schedule": parse_schedule("cosine"), "sampler": find_step(sampler), "prediction": "v"}
    return Sampling(**plain | {"guidance": guidance} | changes)  # type: ignore[arg-type]


def noise(stream: str, part: slice, dtype: torch.dtype, step: int = 0) -> Tensor:
    return group_noise(3, stream, range(part.start, part.stop), (GROUP**2, VALUES), step=step).to(dtype)


def canvases(kind: StoreKind, dtype: torch.dtype) -> dict[Quantity, Canvas]:
    return {name: open_canvas(kind, ROWS, COLUMNS, VALUES, CPU, dtype=dtype) for name in ("x", "data", "unconditional")}


def in_memory(sampling: Sampling, dtype: torch.dtype, **changes: object) -> Tensor:
    whole = slice(0, LAYOUT.count)
    return generate(
        live(denoiser_config(**changes), dtype),
        sampling,
        LAYOUT.groups(),
        noise("start", whole, dtype),
        CONDITIONS.to(dtype),
        lambda k: noise("step", whole, dtype, k),
    )


def streamed(
    sampling: Sampling, dtype: torch.dtype, kind: StoreKind, handful: int, twice: bool = False, **changes: object
) -> Tensor:
    model, how = live(denoiser_config(**changes), dtype), Streaming(handful=handful, store=kind)
    first = canvases(kind, dtype)
    second = canvases(kind, dtype) if twice else first
    for part in how.slices(LAYOUT.count):
        LAYOUT.write(first["x"], part, noise("start", part, dtype))
    hooks = Hooks(noise=lambda k, part: noise("step", part, dtype, k))
    views = [StreamedView(model, LAYOUT, how, before, after) for before, after in ((first, second), (second, first))]
    for _ in sample(lambda k: views[k % 2], sampling, torch.zeros(1, dtype=dtype), CONDITIONS.to(dtype), hooks):
        pass
    return LAYOUT.read(views[sampling.steps % 2].before["x"], slice(0, LAYOUT.count))


@pytest.mark.walk
@pytest.mark.parametrize("handful", [1, 4])
@pytest.mark.parametrize("kind", ["host", "disk"])
@pytest.mark.parametrize("guidance", [0.0, 1.5])
@pytest.mark.parametrize("sampler", ["ddim", "dpm", "ddpm"])
def test_equal_to_sampling_in_memory(sampler: str, guidance: float, kind: StoreKind, handful: int) -> None:
    sampling = settings(sampler, guidance)
    whole = in_memory(sampling, torch.float64)
    assert (streamed(sampling, torch.float64, kind, handful) - whole).abs().max() < 1e-9


@pytest.mark.parametrize("sampler", ["ddim", "dpm"])
@pytest.mark.parametrize("kind", ["host", "disk"])
def test_equal_in_float32(sampler: str, kind: StoreKind) -> None:
    sampling = settings(sampler, 0.5)
    whole = in_memory(sampling, torch.float32)
    assert (streamed(sampling, torch.float32, kind, 2) - whole).abs().max() < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"self_condition": False},
        {"plan": "(1)1"},
        {"plan": "(1)1(1)"},
        {"output_patch": 2},
        {"decay": 0.7},
        {"clip": None},
        {"start": 0.6},
        {"guidance": 1.5, "guided": (0.3, 0.8)},
    ],
)
def test_equal_for_other_models_and_settings(changes: dict[str, object]) -> None:
    own = {name: value for name, value in changes.items() if name in ("self_condition", "plan", "output_patch")}
    sampling = settings("dpm", **{name: value for name, value in changes.items() if name not in own})
    whole = in_memory(sampling, torch.float64, **own)
    assert (streamed(sampling, torch.float64, "host", 2, **own) - whole).abs().max() < 1e-9


@pytest.mark.parametrize("sampler", ["ddim", "dpm", "ddpm"])
def test_what_was_before_a_step_may_outlast_it(sampler: str) -> None:
    sampling = settings(sampler, 0.5)
    assert torch.equal(
        streamed(sampling, torch.float32, "disk", 2, twice=True), streamed(sampling, torch.float32, "host", 2)
    )


def test_going_on_gives_the_same_bits() -> None:
    model, sampling, like = live(denoiser_config(), torch.float32), settings("dpm"), torch.zeros(1)
    places = canvases("host", torch.float32)
    view = StreamedView(model, LAYOUT, Streaming(handful=2), places, places)
    LAYOUT.write(places["x"], slice(0, LAYOUT.count), noise("start", slice(0, LAYOUT.count), torch.float32))
    steps = sample(lambda k: view, sampling, like, CONDITIONS)
    next(steps)
    state = next(steps)
    steps.close()
    again = SamplingState(state.step, {layout: latents.clone() for layout, latents in state.latents.items()})
    assert again.step == 2
    for _ in sample(lambda k: view, sampling, like, CONDITIONS, state=again):
        pass
    whole = LAYOUT.read(places["x"], slice(0, LAYOUT.count))
    assert torch.equal(whole, streamed(sampling, torch.float32, "host", 2))


def test_the_known_part_of_an_image_stays() -> None:
    known = torch.full((LAYOUT.count, GROUP**2, VALUES), 0.25)
    seen: list[float] = []

    def constrain(k: int, part: slice, values: Tensor, gamma: Tensor) -> Tensor:
        seen.append(float(gamma))
        values[:, 0] = gamma.sqrt() * known[part, 0]
        return values

    model, places = live(denoiser_config(), torch.float32), canvases("host", torch.float32)
    view = StreamedView(model, LAYOUT, Streaming(handful=100), places, places)
    LAYOUT.write(places["x"], slice(0, LAYOUT.count), noise("start", slice(0, LAYOUT.count), torch.float32))
    sampling = settings()
    for _ in sample(lambda k: view, sampling, torch.zeros(1), CONDITIONS, Hooks(constrain=constrain)):
        pass
    result = LAYOUT.read(places["x"], slice(0, LAYOUT.count))
    assert torch.equal(result[:, 0], known[:, 0])
    assert not torch.equal(result[:, 1], known[:, 1])
    assert seen == sorted(seen)
    assert seen[-1] == 1


class GroupNumbers(StreamedView):
    """A view whose network predicts the data of a group as its number: -1 or 1 in turn."""

    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        for part in self.how.slices(self.arrangement.count):
            numbers = torch.arange(part.start, part.stop) % 2 * 2.0 - 1
            take(part, numbers[:, None, None].expand(-1, GROUP**2, VALUES))
        return None


@pytest.mark.parametrize("sampler", ["ddim", "dpm", "ddpm"])
def test_steps_on_two_grids_leave_no_borders_of_groups(sampler: str) -> None:
    sampling = settings(sampler, prediction="x")
    both = LAYOUT, CanvasLayout(ROWS, COLUMNS, GROUP, GROUP // 2)

    def steepest(blended: bool) -> float:
        """The largest step between patches of a row that neighbour across a border of groups."""
        places = canvases("host", torch.float32)
        views = [
            GroupNumbers(live(denoiser_config(), torch.float32), own, Streaming(handful=2), places, places, None, blend)
            for own, other in (both, both[::-1])
            for blend in [GridBlend(own, other, PATCH) if blended else None]
        ]
        LAYOUT.write(places["x"], slice(0, LAYOUT.count), noise("start", slice(0, LAYOUT.count), torch.float32))
        hooks = Hooks(noise=lambda k, part: torch.zeros(part.stop - part.start, GROUP**2, VALUES))
        for _ in sample(lambda k: views[k % 2], sampling, torch.zeros(1), None, hooks):
            pass
        pixels = rearrange(places["x"].read(0, 0, ROWS, COLUMNS), "i j (y x a) -> (i y) (j x) a", y=PATCH, x=PATCH)
        return float((pixels[:, 1:] - pixels[:, :-1]).abs().mean((0, 2)).max())

    # Groups of 4 pixels leave 1 pixel on each side of a border for the blend.
    assert steepest(blended=True) < steepest(blended=False) / 2
