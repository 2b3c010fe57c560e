"""Generates images for the evaluation of a diffusion run, as `fit generate` generates them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import cast

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.generate_options import SamplingOptions
from fitcli.tasks.image_sampler import CutSides, SampleRequest, by_label
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser


class DenoiserSampler:
    """Images that are denoised; see `ImageSampler` for its members."""

    def size(self, config: RunConfig, side: int | None) -> tuple[int, int]:
        if diffusion_of(config).enlarging is not None:
            raise FitError("--samples: the run enlarges images and generates none by itself; leave it out")
        return diffusion_of(config).size if side is None else (side, side)

    def cuts(self, config: RunConfig) -> CutSides:
        patch = diffusion_of(config).patch
        side = patch * cast(DenoiserConfig, config.model).group
        return CutSides(group=(side, side), patch=(patch, patch))

    def generate(
        self, checkpoint: Checkpoint[FITDenoiser], runtime: Runtime, request: SampleRequest, folder: Path
    ) -> Iterator[Path]:
        sampling = {each.name: getattr(request.options, each.name) for each in fields(SamplingOptions)}
        for label, count in by_label(request.labels):
            settings = GenerationSettings(
                size=request.size or self.size(checkpoint.config, None),
                label=None if label is None else checkpoint.config.classes[label],
                seed=request.seed + (label or 0),
                **sampling,
            )
            limits = ResourceLimits(memory_bytes=request.memory_bytes)
            job = GenerationJob(
                checkpoint=checkpoint, out=folder / f"{label}.zarr", settings=settings, limits=limits, runtime=runtime,
                count=count, overwrite=True,
            )  # fmt: skip
            for image in job.run():
                yield image.path


IMAGE_SAMPLER = DenoiserSampler()
