"""What reports show of a diffusion model: its error by the level of noise, and generated images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from fitcli.data.dataset import Sample
from fitcli.device.transfer import to_device
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.small_view import small_view
from fitcli.noise import group_noise
from fitcli.patches.cutting import groups_of, to_pixels
from fitcli.patches.grid import PatchGrid
from fitcli.patches.value_range import PixelRange
from fitcli.reports.parts import RGB, Case, Chart, ChartSeries, Picture, Section
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.in_memory import generate
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Sampling
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.scores import TIMES
from fitcli.tasks.task_report import LONGEST_SIDE, Scored, class_text
from models.denoiser import FITDenoiser

SAMPLES, STEPS, SAMPLER = 8, 25, "dpm"
"""Number of generated images, and how they are generated."""

MOST_PATCHES = 1 << 14
"""Most patches of images that are generated for a report: all of one image are in memory."""


class DenoisingReport(Assessment[FITDenoiser]):
    """Shows a diffusion model; see `TaskReport` and `Assessment` for the members."""

    def sections(self, scored: Scored) -> list[Section]:
        """Return the error at each level of noise."""
        # Further values of a row are those of enlarged images.
        rows = np.array([row[: len(TIMES)] for _, row in scored])
        series = [ChartSeries("mean", TIMES, rows.mean(axis=0).tolist())]
        if len(rows) > 1:
            low, high = np.percentile(rows, [10, 90], axis=0)
            series += [ChartSeries("10 % of the images are below", TIMES, low.tolist(), "dashed", 0),
                       ChartSeries("10 % of the images are above", TIMES, high.tolist(), "dashed", 1)]  # fmt: skip
        chart = Chart(title="Error by level of noise", x="time, from little noise to much", y="mean squared error",
                      series=series, x_range=(0.0, 1.0), log_y=True)  # fmt: skip
        return [Section("Denoising", [chart])]

    def badness(self, sample: Sample, row: list[float]) -> float:
        """Return the mean error of an image."""
        return float(np.mean(row[: len(TIMES)]))

    def case(self, image: ImageReader, sample: Sample, row: list[float] | None = None) -> Case:
        """Return an image."""
        classes = self.checkpoint.config.classes
        text = f"of {class_text(classes, sample.target)}" if classes else "an image of the data set"
        text += "" if row is None else f", mean error {self.badness(sample, row):.4f}"
        return Case(str(sample.path), text, [Picture(small_view(image, LONGEST_SIDE // 2), "image")])

    def colors(self) -> list[tuple[RGB, str]]:
        """Return nothing."""
        return []

    @torch.inference_mode()
    def samples(self) -> Iterator[Picture]:
        """Yield generated images of the size of the training images, of each class in turn.

        There are none of large images, and none of a run that enlarges: it generates nothing without a smaller image.
        """
        config, grid = self.checkpoint.config, self._grid
        if diffusion_of(config).enlarging is not None or grid.count * grid.group**2 > MOST_PATCHES:
            return
        for number in range(SAMPLES):
            label = number % len(config.classes) if config.classes else None
            pixels = self._pixels(number, label)
            caption = f"sample {number + 1}" if label is None else config.classes[label]
            yield Picture(small_view(ArrayReader(pixels), LONGEST_SIDE // 2), caption)

    @property
    def _grid(self) -> PatchGrid:
        diffusion = diffusion_of(self.checkpoint.config)
        return PatchGrid(diffusion.size, diffusion.patch, self.checkpoint.model.config.group)

    def _pixels(self, number: int, label: int | None) -> Pixels:
        """Generate an image, whose noise depends on its number alone."""
        config, grid, device = self.checkpoint.config, self._grid, self.runtime.device
        diffusion, model = diffusion_of(config), self.checkpoint.model.config
        sampling = Sampling(
            steps=STEPS,
            schedule=shifted(parse_schedule(diffusion.schedule), diffusion.shift),
            sampler=find_step(SAMPLER),
            prediction=diffusion.prediction,
            clip=diffusion.limits,
        )
        noise = group_noise(0, "report", range(grid.count), (model.tokens, model.values), image=number)
        condition = None
        if label is not None:
            one_hot = F.one_hot(torch.tensor([label]), len(config.classes)).to(torch.float32)
            condition = to_device(one_hot[:, None], device)
        groups = groups_of(grid).map_tensors(partial(to_device, device=device))
        with self.runtime.autocast():
            data = generate(self.checkpoint.model, sampling, groups, to_device(noise, device), condition)
        values = to_pixels(data.float().cpu(), grid).astype(np.float32) / np.float32(2 * diffusion.scale)
        values += np.float32(0.5)
        return PixelRange.of(config.preprocessing).to_pixels(values)
