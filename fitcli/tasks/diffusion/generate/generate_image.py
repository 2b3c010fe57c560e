"""One image from a diffusion model: stage after stage, step after step, with its patches at rest."""

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
from fitcli.runs.weights import Checkpoint
from fitcli.streaming.journal import FolderJournal
from fitcli.streaming.sweeps import Streaming
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout
from fitcli.tasks.diffusion.config import DiffusionConfig, diffusion_of
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.sources import Inpainting, PixelSource, enlarged, of_canvas
from fitcli.tasks.diffusion.generate.stage_canvases import Places
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.parameterization import add_noise
from fitcli.tasks.diffusion.samplers import find_step
from fitcli.tasks.diffusion.sampling import Carried, Done, Hooks, Sampling, sample
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.streamed_view import StreamedView
from models.denoiser import FITDenoiser


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who is told how far it is.

    Attributes:
        advance: The number of groups that a sweep has just finished.
        step: Stage and step, both from 0, that begin.
        done: The stage, its layout, and what a step did to some of its groups.
    """

    advance: Callable[[int], None] = lambda count: None
    step: Callable[[int, int], None] = lambda stage, step: None
    done: Callable[[Stage, CanvasLayout, int, Done], None] = lambda stage, layout, step, done: None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One image to be generated.

    Attributes:
        number: Of the image: images of the same seed and different numbers have nothing in common.
        stages: From coarse to fine.
        condition: Conditioning tokens [1 1 k], on the device; None for a model that takes none.
        given: An image to begin with; None to begin with noise.
        known: What is kept of an image.
        state: Where it goes on after the end of the process, if that is wanted.
    """

    checkpoint: Checkpoint[FITDenoiser]
    runtime: Runtime
    settings: GenerationSettings
    plan: GenerationPlan
    stages: Sequence[Stage]
    number: int = 0
    condition: Tensor | None = None
    given: PixelSource | None = None
    known: Inpainting | None = None
    state: FolderJournal | None = None
    listener: Listener = field(default_factory=Listener)

    @property
    def diffusion(self) -> DiffusionConfig:
        """The diffusion of the model."""
        return diffusion_of(self.checkpoint.config)

    @contextmanager
    def result(self) -> Iterator[Canvas]:
        """Generate; what rested is released at the end.

        Yields:
            The data of the last stage.

        Raises:
            FitError: There is no room for what rests.
        """
        at = self._position()
        with ExitStack() as stack:
            coarser = self._places(at.stage - 1, stack) if at.stage and not at.filled else None
            for index in range(at.stage, len(self.stages)):
                places, carried = self._places(index, stack), Carried()
                if index == at.stage and at.filled:
                    carried = Carried(at.step, at.latents)
                else:
                    self._begin(index, places.start, coarser)
                    self._save(_Position(index, True), places)
                if coarser is not None:
                    coarser.remove()
                with self.runtime.autocast():
                    self._steps(index, places, carried)
                coarser = places
            assert coarser is not None
            yield coarser.result

    def _places(self, index: int, stack: ExitStack) -> Places:
        passes, state = self.plan.passes, self.state
        return Places(
            model=self.checkpoint.model,
            stage=self.stages[index],
            settings=self.settings,
            how=Streaming(handful=passes.handful, store=passes.store, advance=self.listener.advance),
            canvas=self.plan.canvas,
            file=None if state is None else state.folder / f"canvas-{self.number}-{index}",
            stack=stack,
        )

    def _position(self) -> _Position:
        saved = self.state.load() if self.state is not None else None
        if saved is None or saved["image"] != self.number:
            return _Position()
        latents = {layout: values.to(self.runtime.device) for layout, values in saved["latents"].items()}
        return _Position(int(saved["stage"]), bool(saved["filled"]), int(saved["step"]), latents)

    def _save(self, position: _Position, places: Places) -> None:
        """Remember how far it is, where that is wanted."""
        if self.state is not None:
            places.flush(position.step)
            self.state.save({"image": self.number, **position._asdict()})

    def _begin(self, index: int, canvas: Canvas, coarser: Places | None) -> None:
        """Fill the canvas of a stage: noise, or what there is coarser of the image noised to an intermediate time."""
        stage, patch = self.stages[index], self.diffusion.patch
        layout, source = stage.layout(), self.given
        if coarser is not None:
            source = of_canvas(coarser.result, patch, self.stages[index - 1].size)
        gamma = self.sampling(stage).gammas(0, torch.zeros(1))[0]
        how = Streaming(handful=self.plan.passes.handful)
        for part in how.slices(layout.count):
            values = self._noise(f"start {index}", layout, 0, part)
            if source is not None:
                values = add_noise(enlarged(source, stage.size, layout, patch, part), values, gamma)
            layout.write(canvas, part, values)

    def _steps(self, index: int, places: Places, carried: Carried) -> None:
        stage, sampling = self.stages[index], self.sampling(self.stages[index])
        layouts = places.layouts

        def constrain(k: int, part: slice, values: Tensor, gamma: Tensor) -> Tensor:
            layout = layouts[k % len(layouts)]
            assert self.known is not None
            return self.known.keep(layout, part, values, gamma, partial(self._noise, f"known {index}", layout, k, part))

        def view(k: int) -> StreamedView:
            self.listener.step(index, k)
            return places.views[k % len(places.views)]

        hooks = Hooks(
            noise=lambda k, part: to_device(
                self._noise(f"step {index}", layouts[k % len(layouts)], k, part), self.runtime.device
            ),
            constrain=None if self.known is None else constrain,
            done=lambda k, done: self.listener.done(stage, layouts[k % len(layouts)], k, done),
        )
        like = torch.zeros(1, device=self.runtime.device)
        for now in sample(view, sampling, like, self.condition, hooks, carried):
            if now.step < sampling.steps or index + 1 == len(self.stages):
                self._save(_Position(index, True, now.step, now.latents), places)
            else:
                places.flush(now.step)
                self._save(_Position(index + 1), places)

    def forget(self, following: int) -> None:
        """The image is written: remove what is left of it from the state, and go on with the one after it."""
        if self.state is not None:
            self.state.save({"image": following, **_Position()._asdict()})
            for path in self.state.folder.glob("canvas-*"):
                path.unlink()

    def sampling(self, stage: Stage) -> Sampling:
        """How the network is sampled in a stage."""
        diffusion = self.diffusion
        return Sampling(
            steps=stage.steps,
            schedule=shifted(parse_schedule(diffusion.schedule), diffusion.shift),
            sampler=find_step(self.settings.sampler),
            prediction=diffusion.prediction,
            clip=(-diffusion.scale, diffusion.scale) if diffusion.clip else None,
            guidance=self.settings.guidance,
            start=stage.start,
        )

    def _noise(self, stream: str, layout: CanvasLayout, step: int, part: slice) -> Tensor:
        config = self.checkpoint.model.config
        groups, shape = range(part.start, part.stop), (config.tokens, config.values)
        return group_noise(self.settings.seed, stream, groups, shape, self.number, step)


class _Position(NamedTuple):
    """How far an image is.

    Attributes:
        stage: The stage that is under way, or the next one.
        filled: Its canvas holds what it begins with, or the result of a step.
        step: The next step.
        latents: That the next steps start from, by layout.
    """

    stage: int = 0
    filled: bool = False
    step: int = 0
    latents: dict[int, Tensor] = {}  # noqa: RUF012
