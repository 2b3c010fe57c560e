"""An optimizer step whose work is queued on the device, and whose results are not read yet.

A CUDA device is idle while the host waits for the end of its work. So the results of a step are read after the work of
the next one is queued, except before a validation, a save or the end of the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from fitcli.data.bad_images import BadImage
from fitcli.device.moment import Moment
from fitcli.tasks.context import TrainingRun
from fitcli.training.finite_check import check_finite
from fitcli.training.reports import StepReport
from fitcli.training.step_results import StepResults


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchedStep:
    """A step that is launched.

    Attributes:
        number: Number of the step, counted from 1.
        results: Results that are on their way to the host.
        learning_rate: Learning rate of the step.
        bad_images: Unusable images that its batches met.
        began, ended: When the device was ready for the step, and when it has changed the weights.
        peak_bytes: Peak memory after the step was queued.
    """

    number: int
    results: StepResults
    learning_rate: float
    bad_images: list[BadImage]
    began: Moment
    ended: Moment
    peak_bytes: int

    def report(self, run: TrainingRun) -> StepReport:
        """Wait until the step is done and return its report; collective.

        Raises:
            FitError: Loss or gradient is NaN or infinite; the step may then have changed nothing.
        """
        results, settings = self.results, run.settings
        results.receive(run.world)
        images = settings.images_per_step
        check_finite("loss", results.loss, run.folder, self.number, results.paths, images)
        check_finite("gradient", results.norm, run.folder, self.number, results.paths, images)
        seconds = self.ended.seconds_since(self.began)
        return StepReport(
            step=self.number,
            epoch=self.number * images / len(run.dataset.train),
            loss=results.loss,
            learning_rate=self.learning_rate,
            gradient_norm=results.norm,
            images_per_second=images / seconds,
            patches_per_second=results.patches / seconds,
            # The host may wait for images while the device still has work.
            data_wait=min(1.0, results.waited / seconds),
            peak_bytes=self.peak_bytes,
            scores={name: total / images for name, total in results.scores.items()},
        )
