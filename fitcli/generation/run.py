"""One image from a diffusion model: stage after stage, step after step, with its patches at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.checkpoints import Checkpoint
from fitcli.diffusion.canvas import Canvas, Layout, open_canvas
from fitcli.diffusion.config import DiffusionConfig
from fitcli.diffusion.parameterization import add_noise
from fitcli.diffusion.samplers import MULTISTEP, find_step
from fitcli.diffusion.sampling import Carried, Done, Hooks, Kept, Sampling, sample
from fitcli.diffusion.schedules import parse_schedule, shifted
from fitcli.diffusion.streamed import StreamedView
from fitcli.generation.plan import GenerationPlan
from fitcli.generation.settings import Settings
from fitcli.generation.sources import Known, Source, enlarged, of_canvas
from fitcli.generation.stages import Stage
from fitcli.noise import group_noise
from fitcli.runtime import Runtime
from fitcli.sweep_state import SweepState
from fitcli.sweeps import Streaming
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
    done: Callable[[Stage, Layout, int, Done], None] = lambda stage, layout, step, done: None


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
    settings: Settings
    plan: GenerationPlan
    stages: Sequence[Stage]
    number: int = 0
    condition: Tensor | None = None
    given: Source | None = None
    known: Known | None = None
    state: SweepState | None = None
    listener: Listener = field(default_factory=Listener)

    @property
    def diffusion(self) -> DiffusionConfig:
        """What the model was trained with."""
        diffusion = self.checkpoint.config.diffusion
        assert diffusion is not None
        return diffusion

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
            coarser = _Places(self, at.stage - 1, stack) if at.stage and not at.filled else None
            for index in range(at.stage, len(self.stages)):
                places, carried = _Places(self, index, stack), Carried()
                if index == at.stage and at.filled:
                    carried = Carried(at.step, at.latents)
                else:
                    self._begin(index, places.views[0].before["x"], coarser)
                    self._save(_Position(index, True), places)
                if coarser is not None:
                    coarser.remove()
                with self.runtime.autocast():
                    self._steps(index, places, carried)
                coarser = places
            assert coarser is not None
            yield coarser.result

    def _position(self) -> _Position:
        saved = self.state.load() if self.state is not None else None
        if saved is None or saved["image"] != self.number:
            return _Position()
        latents = {layout: values.to(self.runtime.device) for layout, values in saved["latents"].items()}
        return _Position(int(saved["stage"]), bool(saved["filled"]), int(saved["step"]), latents)

    def _save(self, position: _Position, places: _Places) -> None:
        """Remember how far it is, where that is wanted."""
        if self.state is not None:
            places.flush(position.step)
            self.state.save({"image": self.number, **position._asdict()})

    def _begin(self, index: int, canvas: Canvas, coarser: _Places | None) -> None:
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

    def _steps(self, index: int, places: _Places, carried: Carried) -> None:
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
            noise=lambda k, part: self._noise(f"step {index}", layouts[k % len(layouts)], k, part).to(
                self.runtime.device
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

    def _noise(self, stream: str, layout: Layout, step: int, part: slice) -> Tensor:
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


class _Places:
    """The canvases of a stage, and the views of its steps in turn.

    With a state there are two of what a step changes: what was before it outlasts it. Shifted steps alternate too.
    """

    def __init__(self, run: Run, index: int, stack: ExitStack) -> None:
        stage = run.stages[index]
        self.layouts = [stage.layout(), *([stage.layout(True)] if run.settings.shift_grid else [])]
        self._run, self._index, self._steps = run, index, stage.steps
        changed: list[Kept] = ["x", *(["data"] if find_step(run.settings.sampler) in MULTISTEP else [])]  # type: ignore[list-item]
        here = self._canvases(changed, "even", stack)
        there = here if run.state is None else self._canvases(changed, "odd", stack)
        if run.settings.guidance:
            shared = self._canvases(["unconditional"], "now", stack)
            here, there = {**here, **shared}, {**there, **shared}
        how = Streaming(handful=run.plan.passes.handful, store=run.plan.passes.store, advance=run.listener.advance)
        self.views = [
            StreamedView(run.checkpoint.model, self.layouts[k % len(self.layouts)], how, before, after)
            for k, (before, after) in enumerate(((here, there), (there, here)))
        ]

    @property
    def result(self) -> Canvas:
        """What the last step has left."""
        return self.views[self._steps % 2].before["x"]

    def flush(self, step: int) -> None:
        """Return when all that step `step` reads would outlast this process."""
        for name, canvas in self.views[step % 2].before.items():
            if name != "unconditional":
                canvas.flush()

    def remove(self) -> None:
        """Release everything, files of a state included."""
        for view in self.views:
            for canvas in {**view.before, **view.after}.values():
                canvas.close()
        if self._run.state is not None:
            for path in self._run.state.folder.glob(f"{self._prefix()}-*"):
                path.unlink()

    def _canvases(self, names: Sequence[Kept], turn: str, stack: ExitStack) -> dict[Kept, Canvas]:
        canvases: dict[Kept, Canvas] = {}
        for name in names:
            canvases[name] = self._open(name, turn)
            stack.callback(canvases[name].close)
        return canvases

    def _open(self, name: Kept, turn: str) -> Canvas:
        run, layout = self._run, self.layouts[0]
        path = None if run.state is None else run.state.folder / f"{self._prefix()}-{name}-{turn}"
        values, device = run.checkpoint.model.config.values, run.runtime.device
        return open_canvas(run.plan.canvas, layout.rows, layout.columns, values, device, path)

    def _prefix(self) -> str:
        return f"canvas-{self._run.number}-{self._index}"
