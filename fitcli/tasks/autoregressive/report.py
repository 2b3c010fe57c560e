"""What reports show of an autoregressive model: the bits of each image, and drawn images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader
from fitcli.images.small_view import small_view
from fitcli.reports.parts import RGB, Case, Chart, ChartSeries, DataTable, Picture, Section
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.autoregressive.generate_images import Request, generate_images, image_size
from fitcli.tasks.autoregressive.sequences import sequence_of
from fitcli.tasks.task_report import LONGEST_SIDE, Scored, class_text
from models.decoder import FITDecoder

SAMPLES, BARS = 8, 20
"""Number of drawn images, and of bars of the chart of likelihoods."""

MOST_VALUES = 1 << 12
"""Most values of an image that is drawn for a report, one after the other."""

SHARES = ((0, "best image"), (10, "best 10 %"), (50, "median"), (90, "worst 10 %"), (100, "worst image"))
"""Percentiles of the table of likelihoods."""


class LikelihoodReport(Assessment[FITDecoder]):
    """Shows an autoregressive model; see `TaskReport` and `Assessment` for the members."""

    def sections(self, scored: Scored) -> list[Section]:
        """Return how the bits per dimension are spread over the images."""
        bits = np.array([total / dimensions for _, (total, dimensions) in scored])
        uniform = float(np.log2(sequence_of(self.checkpoint.config).levels))
        counts, edges = np.histogram(bits, BARS)
        chart = Chart(title="Bits per dimension of the images", x="bits per dimension", y="images",
                      series=[ChartSeries("", ((edges[:-1] + edges[1:]) / 2).tolist(), counts.tolist(), "bars", 0)],
                      x_range=(float(edges[0]), float(edges[-1])))  # fmt: skip
        rows = [(name, f"{np.percentile(bits, share):.4f}") for share, name in SHARES]
        rows.append(("a guess among all levels", f"{uniform:.4f}"))
        table = DataTable("Likelihood of the images; fewer bits are better", ("image", "bits per dimension"), rows)
        return [Section("Likelihood", [table, chart])]

    def badness(self, sample: Sample, row: list[float]) -> float:
        """Return the bits per dimension of an image."""
        total, dimensions = row
        return total / dimensions

    def case(self, image: ImageReader, sample: Sample, row: list[float] | None = None) -> Case:
        """Return an image."""
        classes = self.checkpoint.config.classes
        text = f"of {class_text(classes, sample.target)}" if classes else "an image of the data set"
        text += "" if row is None else f", {self.badness(sample, row):.4f} bits per dimension"
        return Case(str(sample.path), text, [Picture(small_view(image, LONGEST_SIDE // 2), "image")])

    def colors(self) -> list[tuple[RGB, str]]:
        """Return nothing."""
        return []

    def samples(self) -> Iterator[Picture]:
        """Yield drawn images, of each class in turn; none of large images."""
        config, classes = self.checkpoint.config, self.checkpoint.config.classes
        height, width = image_size(Request(), sequence_of(config))
        if height * width * config.preprocessing.channels > MOST_VALUES:
            return
        for number, pixels in enumerate(generate_images(self.checkpoint, Request(count=SAMPLES, batch=SAMPLES))):
            caption = classes[number % len(classes)] if classes else f"sample {number + 1}"
            yield Picture(small_view(ArrayReader(pixels), LONGEST_SIDE // 2), caption)
