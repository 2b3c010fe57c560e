"""Jobs write their images, go on after a kill, and keep the rest of a repainted image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from support.generators import make_run, photograph

from fitcli.device.runtime import choose_runtime
from fitcli.errors import OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.images.georeference import GeoReference
from fitcli.images.missing import missing_pixels
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.preprocessing import CURRENT_RULES
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.generate import generate_files
from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
from fitcli.tasks.diffusion.generate.generate_image import ImageGeneration
from fitcli.tasks.diffusion.generate.prepare import InitialImage
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run
from models.denoiser import FITDenoiser

RUNTIME = choose_runtime("cpu", "fp32")

SHIFT = -1.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint[FITDenoiser]:
    return load_run(make_run(tmp_path_factory.mktemp("runs") / "run", shift=SHIFT), RUNTIME, DIFFUSION)


class Killed(BaseException):
    """What a process that is killed does not get to handle."""


def test_a_job_of_several_images_goes_on_with_the_one_it_was_at(
    checkpoint: Checkpoint[FITDenoiser], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def job(name: str, state: str | None) -> GenerationJob:
        return GenerationJob(
            checkpoint=checkpoint, out=tmp_path / f"{name}.tif", settings=GenerationSettings(size=(40, 40), steps=2),
            limits=ResourceLimits(state=None if state is None else tmp_path / state), runtime=RUNTIME, count=3,
        )  # fmt: skip

    whole = list(job("whole", None).run())
    with monkeypatch.context() as patched:
        patched.setattr(generate_files, "write_image", _fails_for("broken-1.tif", generate_files.write_image))
        with pytest.raises(Killed):
            list(job("broken", "state").run())
    assert (tmp_path / "broken-0.tif").exists()
    assert not (tmp_path / "broken-1.tif").exists()
    rest = list(job("broken", "state").run())
    assert [one.number for one in rest] == [1, 2]
    assert not (tmp_path / "state").exists()
    for one in whole:
        with open_image(one.path) as left, open_image(tmp_path / f"broken-{one.number}.tif") as right:
            everything = Window(0, 0, 40, 40)
            assert np.array_equal(left.read(everything), right.read(everything))


@pytest.mark.walk(1)
@pytest.mark.parametrize("state", [None, "state"])
def test_memory_that_runs_out_is_one_more_try_with_half_the_handful(
    checkpoint: Checkpoint[FITDenoiser], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    handfuls: list[int] = []

    def job(name: str) -> GenerationJob:
        return GenerationJob(
            checkpoint=checkpoint, out=tmp_path / name, settings=GenerationSettings(size=(80, 80), steps=2),
            limits=ResourceLimits(state=state and tmp_path / state), runtime=RUNTIME,
        )  # fmt: skip

    def fail(failures: int) -> None:
        real = ImageGeneration._run_steps

        def limited(self: ImageGeneration, *arguments: Any) -> None:
            real(self, *arguments)
            handfuls.append(self.plan.passes.handful)
            if len(handfuls) <= failures:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        monkeypatch.setattr(ImageGeneration, "_run_steps", limited)

    (whole,) = job("whole.tif").run()
    with monkeypatch.context() as monkeypatch:
        fail(1)
        (again,) = job("again.tif").run()
    assert handfuls[1] == handfuls[0] // 2
    with open_image(whole.path) as left, open_image(again.path) as right:
        everything = Window(0, 0, 80, 80)
        np.testing.assert_allclose(left.read(everything).astype(int), right.read(everything).astype(int), atol=1)
    handfuls.clear()
    with monkeypatch.context() as monkeypatch:
        fail(2)
        with pytest.raises(OutOfMemory, match="out of memory on cuda"):
            list(job("never.tif").run())
    assert len(handfuls) == 2
    assert not (tmp_path / "never.tif").exists()


def _fails_for(name: str, write: Any) -> Any:
    def failing(path: Path, *arguments: Any, **settings: Any) -> None:
        if path.name == name:
            raise Killed
        write(path, *arguments, **settings)

    return failing


@pytest.mark.parametrize("shift_grid", [False, True])
@pytest.mark.parametrize("window", [Window(10, 20, 30, 17), Window(0, 0, 16, 16), Window(80, 100, 20, 21)])
def test_repainting_keeps_the_rest(
    checkpoint: Checkpoint[FITDenoiser], tmp_path: Path, window: Window, shift_grid: bool
) -> None:
    image, out = photograph(100, 121), tmp_path / "out.zarr"
    image.path = tmp_path
    job = GenerationJob(
        checkpoint=checkpoint, out=out, settings=GenerationSettings(size=(1, 1), steps=3, shift_grid=shift_grid),
        limits=ResourceLimits(), runtime=RUNTIME, initial=InitialImage(image=image, window=window),
    )  # fmt: skip
    list(job.run())
    everything = Window(0, 0, 100, 121)
    with open_image(out) as result:
        before, after = image.read(everything), result.read(everything)
    outside = np.ones(before.shape[:2], bool)
    outside[window.slices()] = False
    assert np.array_equal(before[outside], after[outside])
    assert (before[window.slices()] != after[window.slices()]).mean() > 0.9


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [("uint8", 0.0), ("uint8", 255.0), ("float32", -9999.0), ("float32", -3.4e38), ("float32", float("nan"))],
)
def test_repainting_keeps_missing_pixels_and_their_value(tmp_path: Path, dtype: str, nodata: float) -> None:
    """Those outside of the window. None of the new pixels counts as missing."""
    run = load_run(make_run(tmp_path / "run", dtype=dtype), RUNTIME, DIFFUSION)
    pixels = np.random.default_rng(0).uniform(0.1, 0.9, (60, 64, 3)) * (255 if dtype == "uint8" else 1)
    pixels = pixels.astype(dtype)
    pixels[:20, :30] = pixels[40:, 50:, 1] = np.array(nodata).astype(dtype)
    image, out, window = ArrayReader(pixels, nodata=nodata, path=tmp_path), tmp_path / "out.tif", Window(10, 20, 30, 17)
    preprocessing = replace(run.config.preprocessing, rules=CURRENT_RULES)
    checkpoint = replace(run, config=replace(run.config, preprocessing=preprocessing))
    job = GenerationJob(
        checkpoint=checkpoint, out=out, settings=GenerationSettings(size=(1, 1), steps=2),
        limits=ResourceLimits(), runtime=RUNTIME, initial=InitialImage(image=image, window=window),
    )  # fmt: skip
    list(job.run())
    with open_image(out) as result:
        after, found = result.read(Window(0, 0, 60, 64)), result.info.nodata
    assert found == pytest.approx(nodata, nan_ok=True)
    outside = np.ones((60, 64), bool)
    outside[window.slices()] = False
    np.testing.assert_array_equal(after[outside], pixels[outside])
    missing = missing_pixels(after[window.slices()], found)
    assert missing is None or not missing.any()


@pytest.mark.parametrize(
    ("size", "window", "scale"),
    [((1, 1), Window(10, 20, 6, 7), (10.0, 20.0, 0.0)), ((60, 160), None, (2.5, 10.0, 0.0))],
    ids=["repainted", "enlarged"],
)
def test_maps_lie_where_they_lay(
    checkpoint: Checkpoint[FITDenoiser],
    tmp_path: Path,
    size: tuple[int, int],
    window: Window | None,
    scale: tuple[float, ...],
) -> None:
    image, out, corner = photograph(30, 40), tmp_path / "out.tif", (0.0, 0.0, 0.0, 4e5, 5.7e6, 0.0)
    image.path = tmp_path
    image.info = replace(image.info, geo=GeoReference(scale=(10.0, 20.0, 0.0), tiepoints=corner))
    job = GenerationJob(
        checkpoint=checkpoint, out=out, settings=GenerationSettings(size=size, steps=1), limits=ResourceLimits(),
        runtime=RUNTIME, initial=InitialImage(image=image, window=window),
    )  # fmt: skip
    list(job.run())
    with tifffile.TiffFile(out) as file:
        tags = file.pages.first.tags
        assert (tags["ModelPixelScaleTag"].value, tags["ModelTiepointTag"].value) == (scale, corner)
