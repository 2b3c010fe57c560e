"""Generate images and write them: what `fit generate` does for a run of the task "diffusion"."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fitcli import __version__, console
from fitcli.device.runtime import Runtime
from fitcli.errors import ImageError
from fitcli.files.output_checks import check_not_replaced
from fitcli.images.open import stored_bytes
from fitcli.images.reader_memory import reader_bytes
from fitcli.memory.budget import size_text
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.diffusion.canvas import CanvasLayout
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate.generate_image import Listener, Run
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan, plan_generation
from fitcli.tasks.diffusion.generate.pixels import generated_pixels, repainted_pixels
from fitcli.tasks.diffusion.generate.prepare import InitialImage, Prepared, prepare
from fitcli.tasks.diffusion.generate.preview import Preview
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.samplers import MULTISTEP, find_step
from fitcli.tasks.diffusion.sampling import Done
from fitcli.tasks.generated_image import Generated, text
from fitcli.tasks.image_output import check_outputs, numbered, write_image, writing_bytes
from models.denoiser import FITDenoiser


@dataclass(frozen=True, kw_only=True)
class GenerationJob:
    """Images to be generated.

    Attributes:
        checkpoint: The model and what it was trained with.
        out: File; for several images the name that they are numbered by.
        settings: What is wanted.
        means: Within what bounds.
        runtime: Device and precision.
        count: Number of images.
        overwrite: Replace what is there already.
        beginning: An image to repaint or to enlarge.
    """

    checkpoint: Checkpoint[FITDenoiser]
    out: Path
    settings: GenerationSettings
    means: ResourceLimits
    runtime: Runtime
    count: int = 1
    overwrite: bool = False
    beginning: InitialImage | None = None

    def run(self) -> Iterator[Generated]:
        """Generate the images one after the other.

        Raises:
            FitError: The settings do not fit the model or the image, the memory is too little, or nothing can be
                written.
        """
        paths, begun = numbered(self.out, self.count), False
        prepared = prepare(self.checkpoint, self.settings, self.runtime, self.beginning)
        if self.beginning is not None and prepared.given is not None:
            _warn_of_stretching(self.beginning.image.path, prepared.given.size, self.settings.size)
        with ExitStack() as stack:
            state = None
            if self.means.state is not None:
                state = FolderJournal(self.means.state, self._description(paths))
                stack.callback(state.close)
                begun = state.has_position
            # What a job that goes on has written already is its own.
            check_outputs(paths, self.overwrite or begun, prepared.info)
            if self.means.preview is not None:
                given = [] if self.beginning is None else [self.beginning.image.path]
                check_not_replaced("--preview", [self.means.preview], [*given, *paths])
            plan = self._plan(prepared, paths[0], state)
            if self.means.memory_bytes is not None:
                console.log(plan.summary())
            saved = state.load() if state is not None else None
            for number in range(0 if saved is None else int(saved["image"]), self.count):
                yield self._one(prepared, plan, state, number, paths[number])
            if state is not None:
                state.remove()

    def _one(
        self, prepared: Prepared, plan: GenerationPlan, state: FolderJournal | None, number: int, path: Path
    ) -> Generated:
        began = time.perf_counter()
        with console.status(path.name) as show:
            run = Run(
                checkpoint=self.checkpoint,
                runtime=self.runtime,
                settings=self.settings,
                plan=plan,
                stages=prepared.stages,
                number=number,
                condition=prepared.condition,
                given=prepared.given,
                known=prepared.known,
                state=state,
                listener=self._listener(prepared, show),
            )
            with run.result() as canvas:
                diffusion, preprocessing = diffusion_of(self.checkpoint.config), self.checkpoint.config.preprocessing
                read = generated_pixels(canvas, diffusion.patch, diffusion.scale, preprocessing)
                if self.beginning is not None and self.beginning.window is not None:
                    assert prepared.context is not None
                    image, window = self.beginning.image, self.beginning.window
                    read = repainted_pixels(image, preprocessing, read, prepared.context, window)
                show(0, "writing")
                write_image(
                    path,
                    prepared.info,
                    read,
                    text(self._said(prepared), self._model, number),
                    lossless=prepared.context is not None,
                )
        if state is not None:
            run.forget(number + 1)
        seconds = time.perf_counter() - began
        return Generated(
            path=path,
            info=prepared.info,
            number=number,
            seconds=seconds,
            peak_bytes=self.runtime.peak_bytes(),
            about={"memory": plan.as_dict()},
        )

    def _said(self, prepared: Prepared) -> dict[str, Any]:
        """What a file says of the settings, and of the image that it was begun with: its name, not where it lay."""
        said: dict[str, Any] = dataclasses.asdict(self.settings) | {"size": prepared.info.size}
        if self.beginning is not None:
            window = self.beginning.window
            said["given"] = self.beginning.image.path.name
            said["window"] = None if window is None else dataclasses.astuple(window)
        return said

    @cached_property
    def _model(self) -> str:
        return model_hash(self.checkpoint)

    def _plan(self, prepared: Prepared, path: Path, state: FolderJournal | None) -> GenerationPlan:
        """The plan of a job that goes on, or a new one."""
        if state is not None and state.plan is not None:
            return GenerationPlan.from_state(state.plan)
        model, remembers = self.checkpoint.model, find_step(self.settings.sampler) in MULTISTEP
        changed = (1 + remembers) * (2 if state is not None else 1)
        side = diffusion_of(self.checkpoint.config).patch * model.config.group
        plan = plan_generation(
            config=model.config,
            weights_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            groups=prepared.stages[-1].layout(self.settings.shift_grid).count,
            canvases=changed + bool(self.settings.guidance),
            coarser=len(prepared.stages) > 1,
            runtime=self.runtime,
            memory_bytes=self.means.memory_bytes,
            reader_bytes=0 if self.beginning is None else reader_bytes(self.beginning.image, side),
            finish_bytes=writing_bytes(path, prepared.info),
            on_disk=state is not None,
        )
        if state is not None:
            state.save_plan(plan.for_state())
        return plan

    def _listener(self, prepared: Prepared, show: Callable[[float, str | None], None]) -> Listener:
        stages, passes = prepared.stages, 2 if self.settings.guidance else 1
        sweeps = len(self.checkpoint.model.config.segments) * passes
        whole = sum(stage.layout().count * stage.steps for stage in stages) * sweeps
        preview = self.means.preview and Preview(self.means.preview, diffusion_of(self.checkpoint.config).scale)

        def step(index: int, number: int) -> None:
            height, width = stages[index].size
            peak = size_text(self.runtime.peak_bytes())
            show(0, f"{width}x{height} step {number + 1}/{stages[index].steps}, peak {peak}")

        def done(stage: Stage, layout: CanvasLayout, number: int, what: Done) -> None:
            if preview and preview.is_due(stage, layout, number):
                try:
                    preview.update(stage, layout, what)
                except ImageError as error:
                    # Hours of work do not end because nobody can watch.
                    console.warning(str(error))

        return Listener(advance=lambda groups: show(groups / whole, None), step=step, done=done)

    def _description(self, paths: list[Path]) -> dict[str, Any]:
        """Everything that the pixels depend on, and where they go."""
        begin: dict[str, Any] = {}
        if self.beginning is not None:
            path, window = self.beginning.image.path, self.beginning.window
            begin = {
                "image": os.path.realpath(path),
                "image bytes": stored_bytes(path),
                "image time": path.stat().st_mtime_ns,
                "window": None if window is None else dataclasses.asdict(window),
            }
        return {
            "purpose": "generate",
            "fit": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "checkpoint": self._model,
            "device": self.runtime.device.type,
            "precision": self.runtime.arithmetic,
            "out": [os.path.realpath(path) for path in paths],
            **dataclasses.asdict(self.settings),
            **begin,
        }


def _warn_of_stretching(path: Path, given: tuple[int, int], size: tuple[int, int]) -> None:
    """Say that an image loses its shape by more than rounding to whole pixels."""
    (height, width), (to_height, to_width) = given, size
    fitting = round(to_width * height / width), round(to_height * width / height)
    if abs(fitting[0] - to_height) > 1 and abs(fitting[1] - to_width) > 1:
        kept = (fitting[0], to_width) if fitting[0] < to_height else (to_height, fitting[1])
        console.warning(
            f"{path}: is {height} x {width} pixels (height x width) and will be stretched to {to_height} x {to_width}; "
            f"--height {kept[0]} --width {kept[1]} keeps its shape"
        )
