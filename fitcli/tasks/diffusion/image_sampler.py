"""Generates images for the evaluation of a diffusion run, as `fit generate` generates them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import cast

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.images.open import open_image
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate.chain import factor_of
from fitcli.tasks.diffusion.generate.generate_files import GenerationJob
from fitcli.tasks.diffusion.generate.prepare import InitialImage
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.generate_options import SamplingOptions
from fitcli.tasks.image_sampler import CutSides, SampleRequest, by_label
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser


class DenoiserSampler:
    """Images that are denoised; see `ImageSampler` for its members."""

    def size(self, config: RunConfig, side: int | None) -> tuple[int, int]:
        if side is None:
            return diffusion_of(config).size
        if side % (factor := self.factor(config)):
            raise FitError(f"--sample-size {side}: the run enlarges {factor} times; give a multiple of {factor}")
        return (side, side)

    def factor(self, config: RunConfig) -> int:
        return factor_of(config)

    def cuts(self, config: RunConfig) -> CutSides:
        patch = diffusion_of(config).patch
        side = patch * cast(DenoiserConfig, config.model).group
        return CutSides(group=(side, side), patch=(patch, patch))

    def generate(
        self, checkpoint: Checkpoint[FITDenoiser], runtime: Runtime, request: SampleRequest, folder: Path
    ) -> Iterator[Path]:
        if request.shrunk:
            yield from self._enlarged(checkpoint, runtime, request, folder)
        else:
            yield from self._drawn(checkpoint, runtime, request, folder)

    def _enlarged(
        self, checkpoint: Checkpoint[FITDenoiser], runtime: Runtime, request: SampleRequest, folder: Path
    ) -> Iterator[Path]:
        factor = self.factor(checkpoint.config)
        for number, path in enumerate(request.shrunk):
            with open_image(path) as image:
                size, label = (image.info.height * factor, image.info.width * factor), request.labels[number]
                job = GenerationJob(
                    checkpoint=checkpoint,
                    out=folder / f"{number}.zarr",
                    settings=_settings(checkpoint, request, size, label),
                    limits=ResourceLimits(memory_bytes=request.memory_bytes),
                    runtime=runtime,
                    overwrite=True,
                    initial=InitialImage(image=image),
                    # The number addresses the noise: no two images share it.
                    first=number,
                )
                yield from (done.path for done in job.run())

    def _drawn(
        self, checkpoint: Checkpoint[FITDenoiser], runtime: Runtime, request: SampleRequest, folder: Path
    ) -> Iterator[Path]:
        for label, count in by_label(request.labels):
            job = GenerationJob(
                checkpoint=checkpoint,
                out=folder / f"{label}.zarr",
                settings=_settings(checkpoint, request, request.size or self.size(checkpoint.config, None), label),
                limits=ResourceLimits(memory_bytes=request.memory_bytes),
                runtime=runtime,
                count=count,
                overwrite=True,
            )
            yield from (done.path for done in job.run())


def _settings(
    checkpoint: Checkpoint[FITDenoiser], request: SampleRequest, size: tuple[int, int], label: int | None
) -> GenerationSettings:
    sampling = {each.name: getattr(request.options, each.name) for each in fields(SamplingOptions)}
    return GenerationSettings(
        size=size,
        label=None if label is None else checkpoint.config.classes[label],
        seed=request.seed + (label or 0),
        **sampling,
    )


IMAGE_SAMPLER = DenoiserSampler()
