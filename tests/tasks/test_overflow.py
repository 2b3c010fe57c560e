"""What every task computes in fp16, which `--precision auto` takes on GPUs without bf16, is checked for overflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.decoders import checkpoint as decoder
from support.generators import make_run

from fitcli.device.runtime import Runtime
from fitcli.errors import DeviceError
from fitcli.images.array_image import ArrayReader
from fitcli.tasks.autoregressive.scores import image_bits
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.scores import image_losses
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run

HALF = Runtime(torch.device("cpu"), "fp16")


def noise(height: int, width: int, channels: int) -> ArrayReader:
    return ArrayReader(np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8))


def classified(trained: Path, folder: Path) -> tuple[torch.nn.Module, Callable[[], object]]:
    made = load_run(trained, HALF, CLASSIFY)
    return made.model, lambda: classify_image(made, noise(128, 128, 3), HALF)


def generated(trained: Path, folder: Path) -> tuple[torch.nn.Module, Callable[[], object]]:
    made = load_run(make_run(folder / "run"), HALF, DIFFUSION)
    job = GenerationJob(
        checkpoint=made, out=folder / "out.png", settings=GenerationSettings(size=(16, 16), steps=2),
        limits=ResourceLimits(), runtime=HALF, overwrite=True,
    )  # fmt: skip
    return made.model, lambda: list(job.run())


def denoised(trained: Path, folder: Path) -> tuple[torch.nn.Module, Callable[[], object]]:
    made = load_run(make_run(folder / "run"), HALF, DIFFUSION)
    return made.model, lambda: image_losses(made, noise(16, 16, 3), HALF, 0)


def predicted(trained: Path, folder: Path) -> tuple[torch.nn.Module, Callable[[], object]]:
    made = decoder(16)
    made.model.float()
    return made.model, lambda: image_bits(made, noise(8, 6, 1), HALF)


@pytest.mark.parametrize("use", [classified, generated, denoised, predicted])
def test_numbers_beyond_fp16_are_one_line(
    use: Callable[[Path, Path], tuple[torch.nn.Module, Callable[[], object]]], trained: Path, tmp_path: Path
) -> None:
    model, compute = use(trained, tmp_path)
    compute()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(1000)
    with pytest.raises(DeviceError, match="too large for fp16; use --precision fp32"):
        compute()
