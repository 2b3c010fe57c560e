"""Draws images for the evaluation of an autoregressive run, as `fit generate` draws them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fitcli.device.runtime import Runtime
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.decoding.token_sampling import Draws
from fitcli.tasks.autoregressive.generate_files import draw_images
from fitcli.tasks.autoregressive.generate_images import Request, image_size
from fitcli.tasks.autoregressive.generate_options import DrawingOptions
from fitcli.tasks.autoregressive.sequences import sequence_of
from fitcli.tasks.image_sampler import CutSides, SampleRequest, by_label
from models.decoder import FITDecoder


class DecoderSampler:
    """Images that are drawn value by value; see `ImageSampler` for its members."""

    def size(self, config: RunConfig, side: int | None) -> tuple[int, int]:
        return image_size(Request(height=side, width=side), sequence_of(config))

    def factor(self, config: RunConfig) -> int:
        return 1

    def cuts(self, config: RunConfig) -> CutSides:
        # A group is what others call a patch: its tokens are the values of its pixels.
        return CutSides(group=sequence_of(config).patch, patch=(1, 1))

    def generate(
        self, checkpoint: Checkpoint[FITDecoder], runtime: Runtime, request: SampleRequest, folder: Path
    ) -> Iterator[Path]:
        options: DrawingOptions = request.options
        height, width = request.size or self.size(checkpoint.config, None)
        for label, count in by_label(request.labels):
            draws = Draws(
                temperature=options.temperature, top_k=options.top_k, top_p=options.top_p,
                seed=request.seed + (label or 0),
            )  # fmt: skip
            name = None if label is None else checkpoint.config.classes[label]
            drawn = Request(count=count, height=height, width=width, label=name, draws=draws)
            for image in draw_images(checkpoint, drawn, folder / f"{label}.zarr", True, runtime):
                yield image.path


IMAGE_SAMPLER = DecoderSampler()
