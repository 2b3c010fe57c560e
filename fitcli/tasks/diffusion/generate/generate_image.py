"""Generates one image with a diffusion model: stage by stage, step by step, with its patches on canvases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.device.runtime import Runtime
from fitcli.device.transfer import to_device
from fitcli.noise import group_noise
from fitcli.runs.finite_output import check_finite_groups
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.journal import FolderJournal
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout
from fitcli.tasks.diffusion.config import DiffusionConfig, diffusion_of, image_values
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.sources import Inpainting, canvas_source, enlarge_groups
from fitcli.tasks.diffusion.generate.stage_canvases import StageCanvases
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.given_image import GivenImage
from fitcli.tasks.diffusion.parameterization import add_noise
from fitcli.tasks.diffusion.pixel_source import PixelSource
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Hooks, Sampling, SamplingState, StepResult, sample
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.streamed_view import StreamedView
from models.denoiser import FITDenoiser


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Functions that are called with the progress.

    Attributes:
        advance: Called with a number of groups when a sweep has finished these.
        step: Called with the numbers of a stage and a step, both from 0, when the step starts.
        done: Called with a stage, its layout, the number of a step, and the results of the step for some groups.
    """

    advance: Callable[[int], None] = lambda count: None
    step: Callable[[int, int], None] = lambda stage, step: None
    done: Callable[[Stage, CanvasLayout, int, StepResult], None] = lambda stage, layout, step, result: None


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGeneration:
    """The generation of one image.

    Attributes:
        checkpoint: The model and its preprocessing.
        runtime: Device and precision.
        settings: Settings that the pixels depend on.
        plan: Execution within the memory limit.
        stages: Stages, from coarse to fine.
        number: Number of the image, which addresses its noise: images of one seed are independent of each other.
        condition: Conditioning tokens [1 1 k], on the device; None for an unconditional model.
        source: Image that the first stage starts from; None to start from noise.
        inpainting: Known part of an image; None to generate all of it.
        given: Smaller version of the image, for a run that enlarges; None for others. The canvases then hold the
            difference to it.
        state: Journal that lets another process continue the image; None to keep no state.
        listener: Functions that are called with the progress.
    """

    checkpoint: Checkpoint[FITDenoiser]
    runtime: Runtime
    settings: GenerationSettings
    plan: GenerationPlan
    stages: Sequence[Stage]
    number: int = 0
    condition: Tensor | None = None
    source: PixelSource | None = None
    inpainting: Inpainting | None = None
    given: GivenImage | None = None
    state: FolderJournal | None = None
    listener: Listener = field(default_factory=Listener)

    @property
    def diffusion(self) -> DiffusionConfig:
        """The diffusion of the model."""
        return diffusion_of(self.checkpoint.config)

    @contextmanager
    def result(self) -> Iterator[Canvas]:
        """Generate the image, or continue it. The canvases are released at the end.

        Yields:
            The canvas with the data of the last stage.

        Raises:
            FitError: There is not enough memory or disk space.
            NonFiniteOutput: A prediction is NaN or infinite.
        """
        saved = self._saved_progress()
        with ExitStack() as stack:
            coarser = self._canvases(saved.stage - 1, stack) if saved.stage and not saved.filled else None
            for index in range(saved.stage, len(self.stages)):
                canvases, sampling_state = self._canvases(index, stack), SamplingState()
                if index == saved.stage and saved.filled:
                    sampling_state = SamplingState(saved.step, saved.latents)
                else:
                    self._fill(index, canvases.start, coarser)
                    self._save(_Progress(index, True), canvases)
                if coarser is not None:
                    coarser.remove()
                with self.runtime.autocast():
                    self._run_steps(index, canvases, sampling_state)
                coarser = canvases
            assert coarser is not None
            yield coarser.result

    def _canvases(self, index: int, stack: ExitStack) -> StageCanvases:
        passes, state = self.plan.passes, self.state
        return StageCanvases(
            model=self.checkpoint.model,
            stage=self.stages[index],
            settings=self.settings,
            how=Streaming(handful=passes.handful, store=passes.store, advance=self.listener.advance),
            canvas=self.plan.canvas,
            file=None if state is None else state.folder / f"canvas-{self.number}-{index}",
            stack=stack,
            given=self.given,
        )

    def _saved_progress(self) -> _Progress:
        saved = self.state.load() if self.state is not None else None
        if saved is None or saved["image"] != self.number:
            return _Progress()
        latents = {layout: values.to(self.runtime.device) for layout, values in saved["latents"].items()}
        return _Progress(int(saved["stage"]), bool(saved["filled"]), int(saved["step"]), latents)

    def _save(self, progress: _Progress, canvases: StageCanvases) -> None:
        """Save the progress, if a state is kept."""
        if self.state is not None:
            canvases.flush(progress.step)
            self.state.save({"image": self.number, **progress._asdict()})

    def _fill(self, index: int, canvas: Canvas, coarser: StageCanvases | None) -> None:
        """Fill the canvas of a stage with noise, or with the coarser image noised to an intermediate time."""
        stage, patch = self.stages[index], self.diffusion.patch
        layout, source = stage.layout(), self.source
        if coarser is not None:
            source = canvas_source(coarser.result, patch, self.stages[index - 1].size)
        gamma = self.sampling(stage).gammas(0, torch.zeros(1))[0]
        how = Streaming(handful=self.plan.passes.handful)
        for part in how.slices(layout.count):
            values = self._noise(f"start {index}", layout, 0, part)
            if source is not None:
                values = add_noise(enlarge_groups(source, stage.size, layout, patch, part), values, gamma)
            layout.write(canvas, part, values)

    def _run_steps(self, index: int, canvases: StageCanvases, state: SamplingState) -> None:
        stage, sampling = self.stages[index], self.sampling(self.stages[index])
        layouts, outputs = canvases.layouts, list[Tensor]()

        def constrain(k: int, part: slice, values: Tensor, gamma: Tensor) -> Tensor:
            layout = layouts[k % len(layouts)]
            assert self.inpainting is not None
            noise = partial(self._noise, f"known {index}", layout, k, part)
            return self.inpainting.keep(layout, part, values, gamma, noise)

        def predicted(output: Tensor, unconditional: Tensor | None) -> None:
            largest = _largest(output, unconditional)
            self.runtime.check_overflow(largest)
            outputs.append(largest)

        def done(k: int, result: StepResult) -> None:
            layout = layouts[k % len(layouts)]
            if self.given is not None:
                result = result._replace(data=self.given.add(result.data, layout, result.part))
            self.listener.done(stage, layout, k, result)

        def view(k: int) -> StreamedView:
            self.listener.step(index, k)
            return canvases.views[k % len(canvases.views)]

        hooks = Hooks(
            noise=lambda k, part: to_device(
                self._noise(f"step {index}", layouts[k % len(layouts)], k, part), self.runtime.device
            ),
            constrain=None if self.inpainting is None else constrain,
            predicted=predicted,
            done=done,
        )
        like = torch.zeros(1, device=self.runtime.device)
        for after in sample(view, sampling, like, self.condition, hooks, state):
            # Before the step is saved. The host waits for the device once per step.
            check_finite_groups(self.checkpoint, torch.cat(outputs), f"predictions in step {after.step}")
            outputs.clear()
            if after.step < sampling.steps or index + 1 == len(self.stages):
                self._save(_Progress(index, True, after.step, after.latents), canvases)
            else:
                canvases.flush(after.step)
                self._save(_Progress(index + 1), canvases)

    def finish(self, following: int) -> None:
        """Remove the canvases of the written image from the state, and save the number of the next image."""
        if self.state is not None:
            self.state.save({"image": following, **_Progress()._asdict()})
            for path in self.state.folder.glob("canvas-*"):
                path.unlink()

    def sampling(self, stage: Stage) -> Sampling:
        """Return the settings of the sampling loop in a stage."""
        return stage_sampling(self.diffusion, self.settings, stage)

    def _noise(self, stream: str, layout: CanvasLayout, step: int, part: slice) -> Tensor:
        config = self.checkpoint.model.config
        groups, shape = range(part.start, part.stop), (config.tokens, image_values(config))
        return group_noise(self.settings.seed, stream, groups, shape, self.number, step)


def stage_sampling(diffusion: DiffusionConfig, settings: GenerationSettings, stage: Stage) -> Sampling:
    """Return the settings of the sampling loop of a run in a stage."""
    guided = settings.guidance_interval
    return Sampling(
        steps=stage.steps,
        schedule=shifted(parse_schedule(diffusion.schedule), diffusion.shift),
        sampler=find_step(settings.sampler),
        prediction=diffusion.prediction,
        clip=diffusion.limits,
        guidance=settings.guidance,
        guided=(0.0, 1.0) if guided is None else (guided.first, guided.last),
        start=stage.start,
    )


def _largest(output: Tensor, unconditional: Tensor | None) -> Tensor:
    """Return the largest magnitude [part] of what the network predicts for each group: NaN if one value is."""
    largest = output.abs().amax(dim=(1, 2))
    return largest if unconditional is None else largest + unconditional.abs().amax(dim=(1, 2))


class _Progress(NamedTuple):
    """The saved progress of an image.

    Attributes:
        stage: Number of the current stage.
        filled: Whether its canvas is filled; otherwise the stage has not started yet.
        step: Number of the next step.
        latents: Latents [g m d] for self-conditioning, by layout.
    """

    stage: int = 0
    filled: bool = False
    step: int = 0
    latents: dict[int, Tensor] = {}  # noqa: RUF012
