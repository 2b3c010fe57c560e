"""Generated pixels are those of a plain version in memory, whatever the plan, and after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.generators import GROUP, PATCH, make_run, photograph
from torch import Tensor

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.memory.budget import MemoryPlan
from fitcli.noise import group_noise
from fitcli.patches.cutting import groups_of, to_patches, to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.patches.resampling import enlarge
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.journal import FolderJournal
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.generate.generate_image import ImageGeneration, Listener
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan
from fitcli.tasks.diffusion.generate.prepare import InitialImage, prepare
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.sources import canvas_values
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.generate_options import GuidedTimes
from fitcli.tasks.diffusion.grid_blend import GridBlend
from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.parameterization import add_noise, interpret
from fitcli.tasks.diffusion.samplers import ddim, find_step
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run
from models.denoiser import FITDenoiser

RUNTIME = choose_runtime("cpu", "fp32")

SHIFT = -1.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint[FITDenoiser]:
    return load_run(make_run(tmp_path_factory.mktemp("runs") / "run", shift=SHIFT), RUNTIME, DIFFUSION)


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint[FITDenoiser]:
    """A model whose output head lets patches overlap."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run", output_patch=PATCH, shift=SHIFT)
    return load_run(run, RUNTIME, DIFFUSION)


def plan(handful: int = 3, store: StoreKind = "host", canvas: StoreKind = "host") -> GenerationPlan:
    return GenerationPlan(
        passes=MemoryPlan(budget_bytes=0, handful=handful, store=store, reads_store="host"), canvas=canvas
    )


def generated(
    checkpoint: Checkpoint[FITDenoiser],
    settings: GenerationSettings,
    plan: GenerationPlan,
    initial: InitialImage | None = None,
    **more: Any,
) -> NDArray[np.float32]:
    """The data [height width channels] of the last stage."""
    prepared = prepare(checkpoint, settings, RUNTIME, initial)
    generation = ImageGeneration(
        checkpoint=checkpoint, runtime=RUNTIME, settings=settings, plan=plan, stages=prepared.stages,
        condition=prepared.condition, source=prepared.source, inpainting=prepared.inpainting, **more,
    )  # fmt: skip
    with generation.result() as canvas:
        return canvas_values(canvas, PATCH, Window(0, 0, *prepared.stages[-1].size))


def plain_version(
    checkpoint: Checkpoint[FITDenoiser], settings: GenerationSettings, sizes: list[tuple[int, int]]
) -> NDArray[Any]:
    """The same with everything in memory, an image of whole groups after the other."""
    condition = torch.zeros(1, 1, 2)
    condition[..., checkpoint.config.classes.index(settings.label or "cat")] = settings.label is not None
    coarser: NDArray[Any] | None = None
    for index, size in enumerate(sizes):
        padded = PatchGrid(PatchGrid(size, PATCH, GROUP).padded, PATCH, GROUP)
        start = 1.0 if coarser is None else settings.strength
        sampling = Sampling(
            steps=max(1, round(settings.steps * start)),
            schedule=shifted(parse_schedule("cosine"), SHIFT),
            sampler=find_step(settings.sampler),
            prediction="v",
            guidance=settings.guidance,
            guided=(0, 1) if (times := settings.guidance_interval) is None else (times.first, times.last),
            start=start,
        )

        def noise(stream: str, step: int = 0, grid: PatchGrid = padded) -> Tensor:
            return group_noise(settings.seed, stream, range(grid.count), (GROUP**2, 48), step=step)

        initial = noise(f"start {index}")
        if coarser is not None:
            source = coarser
            pixels = enlarge(lambda w, s=source: s[w.slices()], source.shape[:2], size, Window(0, 0, *padded.size))
            initial = add_noise(to_patches(pixels, padded), initial, sampling.gammas(0, initial)[0])
        patches = generate(
            checkpoint.model, sampling, groups_of(padded), initial, condition,
            lambda k, index=index: noise(f"step {index}", k),
        )  # fmt: skip
        coarser = to_pixels(patches, padded)[: size[0], : size[1]]
    assert coarser is not None
    return coarser


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({"size": (32, 32)}, [(32, 32)]),
        ({"size": (20, 50), "label": "dog", "guidance": 1.0, "sampler": "dpm"}, [(20, 50)]),
        (
            {"size": (70, 50), "label": "dog", "guidance": 1.0, "guidance_interval": GuidedTimes(0.3, 0.8)},
            [(35, 25), (70, 50)],
        ),
        ({"size": (10, 5), "sampler": "ddpm"}, [(10, 5)]),
        ({"size": (70, 50)}, [(35, 25), (70, 50)]),
        ({"size": (70, 50), "one_pass": True, "sampler": "dpm"}, [(70, 50)]),
        ({"size": (101, 64), "sampler": "dpm", "strength": 0.7}, [(26, 16), (51, 32), (101, 64)]),
    ],
)
def test_equal_to_the_plain_version(
    checkpoint: Checkpoint[FITDenoiser], changes: dict[str, Any], sizes: list[tuple[int, int]]
) -> None:
    settings = GenerationSettings(**{"steps": 4, "seed": 5} | changes)
    expected = plain_version(checkpoint, settings, sizes)
    np.testing.assert_allclose(generated(checkpoint, settings, plan()), expected, atol=1e-5)


@pytest.mark.walk
@pytest.mark.parametrize("shift_grid", [False, True])
@pytest.mark.parametrize("sampler", ["ddpm", "dpm"])
def test_the_plan_changes_no_pixel(checkpoint: Checkpoint[FITDenoiser], sampler: str, shift_grid: bool) -> None:
    settings = GenerationSettings(
        size=(50, 70), steps=4, sampler=sampler, label="cat", guidance=0.5, shift_grid=shift_grid
    )
    first = generated(checkpoint, settings, plan(100))
    for other in (plan(2), plan(4, "disk", "disk"), plan(5, "device", "device")):
        np.testing.assert_allclose(generated(checkpoint, settings, other), first, atol=1e-5)


@pytest.mark.parametrize("shift_grid", [False, True])
def test_the_plan_changes_no_pixel_of_overlapping_patches(
    overlapping: Checkpoint[FITDenoiser], shift_grid: bool
) -> None:
    settings = GenerationSettings(size=(50, 70), steps=4, sampler="dpm", one_pass=True, shift_grid=shift_grid)
    first = generated(overlapping, settings, plan(100))
    if not shift_grid:
        np.testing.assert_allclose(first, plain_version(overlapping, settings, [(50, 70)]), atol=1e-5)
    for other in (plan(1), plan(4, "disk", "disk"), plan(5, "device", "device")):
        np.testing.assert_allclose(generated(overlapping, settings, other), first, atol=1e-5)


def test_a_shifted_grid_is_that_of_an_image_with_a_hidden_rim(checkpoint: Checkpoint[FITDenoiser]) -> None:
    size, half = (32, 48), GROUP // 2 * PATCH
    settings = GenerationSettings(size=size, steps=2, one_pass=True, shift_grid=True, label="cat")
    sampling = Sampling(steps=2, schedule=shifted(parse_schedule("cosine"), SHIFT), prediction="v")
    condition = torch.eye(2)[checkpoint.config.classes.index("cat")].reshape(1, 1, 2)
    grid = PatchGrid(size, PATCH, GROUP)
    wide = PatchGrid((size[0] + 2 * half, size[1] + 2 * half), PATCH, GROUP)
    inside = np.pad(np.ones((*size, 48 // PATCH**2), np.float32), ((half, half), (half, half), (0, 0)))
    hidden = groups_of(wide)._replace(mask=to_patches(inside, wide)[..., 0] > 0)
    hidden = hidden._replace(coordinates=hidden.coordinates - 0.5)
    before = latents = torch.zeros(0)
    x, rim = group_noise(0, "start 0", range(grid.count), (GROUP**2, 48)), ((half, half), (half, half), (0, 0))
    stage = Stage(size, PATCH, GROUP, 1.0, 2, shift_grid=True)
    for k, groups in enumerate((groups_of(grid), hidden)):
        now, after = sampling.gammas(k, x)
        if k == 1:
            # The last step is blended with a prediction from the same values in the groups of the step before.
            output = checkpoint.model(x, groups_of(grid), now[None], condition, latents).tokens
            before = interpret(output, x, now, "v", (-1, 1), truncate_noise=True).data
            before, x = (to_patches(np.pad(to_pixels(each, grid), rim), wide) for each in (before, x))
        output, latents = checkpoint.model(x, groups, now[None], condition, None)
        data, noise = interpret(output, x, now, "v", (-1, 1), truncate_noise=True)
        if k == 1:
            share = GridBlend(*reversed(stage.layouts), PATCH).share(slice(0, wide.count), data)
            data = share * data + (1 - share) * before
        x = ddim(x, data, noise, now, after, None)
    expected = to_pixels(data, wide)[half:-half, half:-half]
    np.testing.assert_allclose(generated(checkpoint, settings, plan()), expected, atol=1e-5)


def test_seeds_numbers_labels_and_shifts_make_other_images(checkpoint: Checkpoint[FITDenoiser]) -> None:
    settings = GenerationSettings(size=(32, 32), steps=3, label="cat")
    images = [
        generated(checkpoint, settings, plan()),
        generated(checkpoint, replace(settings, seed=1), plan()),
        generated(checkpoint, replace(settings, label="dog"), plan()),
        generated(checkpoint, replace(settings, label=None), plan()),
        generated(checkpoint, replace(settings, shift_grid=True), plan()),
        generated(checkpoint, replace(settings, guidance=2.0), plan()),
        generated(checkpoint, settings, plan(), number=1),
    ]
    for number, image in enumerate(images):
        assert np.abs(image).max() <= 1
        assert all(np.abs(image - other).max() > 1e-3 for other in images[:number])


class Killed(BaseException):
    """What a process that is killed does not get to handle."""


@pytest.mark.walk(1)
@pytest.mark.parametrize(("sampler", "when"), [*(("dpm", when) for when in (1, 14, 21, 30, 47, 95, 120)), ("ddpm", 35)])
def test_going_on_after_a_kill_gives_the_same_bits(
    checkpoint: Checkpoint[FITDenoiser], tmp_path: Path, sampler: str, when: int
) -> None:
    settings = GenerationSettings(size=(40, 60), steps=4, sampler=sampler, label="cat", guidance=0.5, shift_grid=True)
    expected = generated(checkpoint, settings, plan(4, "host", "disk"))
    calls = 0

    def advance(groups: int) -> None:
        nonlocal calls
        calls += 1
        if calls == when:
            raise Killed

    def run(listener: Listener) -> NDArray[np.float32]:
        state = FolderJournal(tmp_path / "state", {"settings": repr(settings)})
        try:
            state.save_plan({})
            return generated(checkpoint, settings, plan(4, "host", "disk"), state=state, listener=listener)
        finally:
            state.close()

    with pytest.raises(Killed):
        run(Listener(advance=advance))
    steps: list[tuple[int, int]] = []
    assert np.array_equal(run(Listener(step=lambda stage, step: steps.append((stage, step)))), expected)
    assert len(steps) < 6 or when < 8


def test_repainting_looks_at_the_rest(checkpoint: Checkpoint[FITDenoiser]) -> None:
    settings, window = GenerationSettings(size=(1, 1), steps=3), Window(30, 30, 12, 12)
    dark = ArrayReader(np.zeros((80, 80, 3), np.uint8))
    images = [
        generated(checkpoint, settings, plan(), InitialImage(image=image, window=window))
        for image in (photograph(80, 80), dark)
    ]
    assert images[0].shape == images[1].shape == (32, 32, 3)
    assert np.abs(images[0] - images[1])[10:22, 10:22].max() > 1e-3
    known = dark.read(Window(20, 20, 32, 32)).astype(np.float32) / 255 * 2 - 1
    np.testing.assert_allclose(images[1][:10], known[:10], atol=1e-6)


def test_enlarging_keeps_what_there_is_to_the_extent_it_is_not_noised(checkpoint: Checkpoint[FITDenoiser]) -> None:
    image, size = photograph(30, 40), (90, 120)
    data = image.read(Window(0, 0, 30, 40)).astype(np.float32) / 255 * 2 - 1
    whole = enlarge(lambda w: data[w.slices()], (30, 40), size, Window(0, 0, *size))
    errors = []
    for strength in (0.02, 0.3, 0.9):
        settings = GenerationSettings(size=size, steps=10, strength=strength)
        made = generated(checkpoint, settings, plan(), InitialImage(image=image))
        errors.append(float(np.abs(made - whole).mean()))
    assert errors == sorted(errors)
    assert errors[0] < 0.1 < errors[-1]
