"""Generates images with a run and compares them with held-out real ones, crop by crop.

Memory holds one window of an image at a time and, of each crop, what `CropSet` keeps. Generated images wait in a folder
of temporary files, one at a time.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fitcli import console
from fitcli.data.dataset import Sample, spread
from fitcli.device.runtime import Runtime
from fitcli.errors import DataError, FitError
from fitcli.evaluation.quality.crop_vectors import crop_vectors
from fitcli.evaluation.quality.crops import (
    MOST_CROPS,
    CropSet,
    cells,
    disjoint_windows,
    even_choice,
)
from fitcli.evaluation.quality.figures import QualityFigures, compare_sets
from fitcli.evaluation.quality.nearest import NearestSearch, Nearness, nearness
from fitcli.evaluation.quality.real_crops import add_real_crops, advice_on_crop, check_crop, largest_crop
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.evaluation.quality.seams import SeamCounter
from fitcli.evaluation.quality.shrunk_images import add_bicubic, parted_images, write_shrunk
from fitcli.files.wording import counted
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.patches.value_range import PixelRange
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.encoding.image_opener import ImageOpener
from fitcli.tasks.image_sampler import ImageSampler, SampleRequest
from fitcli.tasks.registry import find_image_sampler

CROPS_PER_SAMPLE = 64
"""Most crops of a generated image: those of one image resemble each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QualitySettings:
    """Images to generate and how they are compared.

    Attributes:
        samples: Number of images to generate.
        side: Their sides in pixels; None for the size of the training images.
        crop: Sides of the crops that are compared, in pixels; None for the largest that all real images have, up to the
            size of the generated ones.
        features_from: Folder of a run that gives the vectors of the Fréchet distance; None for no such distance.
        seed: Seed of the generated images and of all random choices.
        options: Options of the task that the pixels depend on, see `registry.sampling_options`.
    """

    samples: int
    side: int | None = None
    crop: int | None = None
    features_from: Path | None = None
    seed: int = 0
    options: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityJob:
    """A comparison that is ready to run.

    Attributes:
        settings: Images to generate and how they are compared.
        checkpoint: The run that generates.
        runtime: Device and precision.
        memory_bytes: Memory limit of the generation; None for a share of what is free.
        opener: Opens real images.
        sampler: Generates images.
        vector_of: Returns the vector of a crop; None without a classifier.
    """

    settings: QualitySettings
    checkpoint: Checkpoint[Any]
    runtime: Runtime
    memory_bytes: int | None
    opener: ImageOpener
    sampler: ImageSampler
    vector_of: Callable[[Pixels], list[float]] | None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the generated images, in pixels."""
        return self.sampler.size(self.checkpoint.config, self.settings.side)

    @property
    def _factor(self) -> int:
        return self.sampler.factor(self.checkpoint.config)

    @property
    def _real(self) -> RealImages:
        return RealImages(self.opener, self.checkpoint.config.preprocessing, self.settings.seed)

    def run(self, held_out: Sequence[Sample], trained: Sequence[Sample], turned: bool) -> QualityFigures:
        """Generate the images and compare them.

        Args:
            held_out: Real images to compare with, which can be read.
            trained: Images that the run was trained on.
            turned: Whether the training turned and mirrored images.

        Raises:
            DataError: The real images have too few crops.
            FitError: The images cannot be generated.
        """
        began = time.perf_counter()
        crop = self._crop(held_out)
        to_shrink, compared = parted_images(held_out) if self._factor > 1 else ([], list(held_out))
        per_sample = min(cells(self.size, crop), CROPS_PER_SAMPLE, max(1, MOST_CROPS // self.settings.samples))
        generated, bicubic, *real = (
            self._set(name, crop, per_sample) for name in ("generated", "bicubic", "real 0", "real 1")
        )
        seams, real_seams = (SeamCounter(self.sampler.cuts(self.checkpoint.config)) for _ in range(2))
        add_real_crops(compared, real, self._real)
        self._add_real_seams(compared, real_seams)
        labels = self._labels(compared)
        with TemporaryDirectory(prefix="fit-samples-") as folder:
            request = self._request(labels, to_shrink, Path(folder))
            self._add_generated(request, Path(folder), generated, bicubic, seams, per_sample)
        if to_shrink and len(generated) < 2:
            raise DataError(
                f"the enlarged images have {counted(len(generated), 'crop')} of {crop[1]} x {crop[0]} pixels, 2 or "
                f"more are needed; give {advice_on_crop(crop)}more or larger images"
            )
        generation = time.perf_counter() - began
        crops, sliced, frechet = compare_sets(
            generated, (real[0], real[1]), self.settings.seed, bicubic if to_shrink else None
        )
        seen = {sample.path for sample in trained} & {sample.path for sample in held_out}
        near = None if seen else self._nearness(generated, real[0], crops, trained, turned)
        return QualityFigures(
            crops=crops,
            crop=crop,
            sliced=sliced,
            frechet=frechet,
            seams=seams.result(),
            real_seams=real_seams.result(),
            nearness=near,
            about={
                "samples": len(request.labels),
                "size": list(self.size),
                "seed": self.settings.seed,
                "sampling": dataclasses.asdict(self.settings.options),
                "features_from": self.settings.features_from and str(self.settings.features_from),
                "reading_and_generation_seconds": generation,
                "seconds": time.perf_counter() - began,
            },
        )

    def _crop(self, held_out: Sequence[Sample]) -> tuple[int, int]:
        """Return the (height, width) of the crops.

        Raises:
            FitError: They are too small.
        """
        if (side := self.settings.crop) is not None:
            return side, side
        sizes = [self._real.size(sample) for sample in spread(held_out, 2 * self.settings.samples)]
        return largest_crop(sizes, self.size, self._factor)

    def _set(self, name: str, crop: tuple[int, int], per_sample: int) -> CropSet:
        return CropSet(
            name=name,
            crop=crop,
            values=PixelRange.of(self.checkpoint.config.preprocessing),
            expected=self.settings.samples * per_sample,
            seed=self.settings.seed,
            vector_of=self.vector_of,
        )

    def _labels(self, held_out: Sequence[Sample]) -> list[int | None]:
        """Return the classes of as many generated images, evenly spread over those of real images."""
        known = [label for sample in held_out if (label := self._label(sample)) is not None]
        if not known:
            return [None] * self.settings.samples
        return [known[number] for number in even_choice(len(known), self.settings.samples)]

    def _request(self, labels: Sequence[int | None], to_shrink: Sequence[Sample], folder: Path) -> SampleRequest:
        """Return the images to generate. One that is made from a smaller one has the class of the image shrunk."""
        shrunk = None
        if to_shrink:
            shrunk = write_shrunk(to_shrink, self._real, self.settings.samples, self.size, self._factor, folder)
            labels = [self._label(sample) for sample in shrunk.samples]
            if len(labels) < self.settings.samples:
                console.warning(
                    f"--samples {self.settings.samples}: {counted(len(to_shrink), 'image')} to enlarge "
                    f"{'has' if len(to_shrink) == 1 else 'have'} {counted(len(labels), 'window')} of at most "
                    f"{self.size[1]} x {self.size[0]} pixels without missing ones; as many images are made"
                )
        return SampleRequest(
            labels=labels,
            size=self.size,
            seed=self.settings.seed,
            memory_bytes=self.memory_bytes,
            options=self.settings.options,
            shrunk=() if shrunk is None else shrunk.paths,
        )

    def _label(self, sample: Sample) -> int | None:
        return int(sample.target) if self.checkpoint.config.classes and sample.target >= 0 else None

    def _add_real_seams(self, held_out: Sequence[Sample], seams: SeamCounter) -> None:
        """Count the borders of as many real images as are generated."""
        for sample in spread(held_out, self.settings.samples):
            with self.opener.open(sample.path) as image:
                size = min(image.info.height, self.size[0]), min(image.info.width, self.size[1])
                seams.add(size, partial(self._real.values_or_nan, image))

    def _add_generated(
        self,
        request: SampleRequest,
        folder: Path,
        crops: CropSet,
        bicubic: CropSet,
        seams: SeamCounter,
        per_sample: int,
    ) -> None:
        """Add crops of each generated image, and the same ones of its smaller version enlarged by cubic convolution."""
        paths = self.sampler.generate(self.checkpoint, self.runtime, request, folder)
        for number, path in enumerate(paths):
            with open_image(path) as image:
                windows = disjoint_windows(
                    image.info.size, crops.crop, per_sample, self._real.random("generated crops", number)
                )
                for window in windows:
                    crops.add(image.read(window))
                seams.add(image.info.size, partial(self._real.values, image))
            if request.shrunk:
                add_bicubic(request.shrunk[number], self._real, self._factor, bicubic, windows)
            shutil.rmtree(path)

    def _nearness(
        self, generated: CropSet, real: CropSet, crops: int, trained: Sequence[Sample], turned: bool
    ) -> Nearness | None:
        thumbs = [each.thumbs[crop] for each in (generated, real) for crop in even_choice(len(each), crops)]
        search = NearestSearch(np.stack(thumbs), generated.crop, turned)
        searched = 0
        for image, window in self._real.trained_windows(trained, generated.crop, search.most_places):
            search.add(self._real.values(image, window))
            searched += 1
        if not searched:
            return None
        distances = search.distances()
        return nearness(distances[:crops], distances[crops:])


def prepare_quality(
    settings: QualitySettings,
    checkpoint: Checkpoint[Any],
    runtime: Runtime,
    memory_bytes: int | None,
    opener: ImageOpener,
    held_out: Sequence[Sample],
) -> QualityJob:
    """Check settings, and the number of images to compare with, before any work is done.

    Raises:
        FitError: The run generates no images, or a setting does not fit it.
        CheckpointError: The run of the classifier cannot be used.
        DataError: There are too few images for a run that enlarges.
    """
    task = checkpoint.config.task
    if (sampler := find_image_sampler(task)) is None:
        raise FitError(f"--samples is for runs that generate images, not for those of --task {task}; leave it out")
    size = sampler.size(checkpoint.config, settings.side)  # raises the error of a size that the run cannot make
    if settings.crop is not None:
        check_crop(settings.crop, size)
    if sampler.factor(checkpoint.config) > 1:
        parted_images(held_out)  # raises the error of too few images
    vector_of = None
    if settings.features_from is not None:
        vector_of = crop_vectors(settings.features_from, checkpoint.config.preprocessing, runtime, memory_bytes)
    return QualityJob(
        settings=settings,
        checkpoint=checkpoint,
        runtime=runtime,
        memory_bytes=memory_bytes,
        opener=opener,
        sampler=sampler,
        vector_of=vector_of,
    )
