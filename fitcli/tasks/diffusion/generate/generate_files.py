"""Generates images and writes them to files: `fit generate` for runs of the task "diffusion"."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
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
from fitcli.memory.retry import with_less
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.streaming.journal import FolderJournal
from fitcli.tasks.diffusion.canvas import CanvasLayout
from fitcli.tasks.diffusion.config import diffusion_of
from fitcli.tasks.diffusion.generate.generate_image import ImageGeneration, Listener, stage_sampling
from fitcli.tasks.diffusion.generate.memory_plan import GenerationPlan, plan_generation
from fitcli.tasks.diffusion.generate.pixels import generated_pixels, repainted_pixels
from fitcli.tasks.diffusion.generate.prepare import InitialImage, Prepared, prepare
from fitcli.tasks.diffusion.generate.preview import Preview
from fitcli.tasks.diffusion.generate.settings import GenerationSettings, ResourceLimits
from fitcli.tasks.diffusion.generate.stage_canvases import changed_quantities
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.given_image import GivenImage, given_image
from fitcli.tasks.diffusion.sample import DENOISING
from fitcli.tasks.diffusion.sampling import StepResult
from fitcli.tasks.generated_image import GeneratedImage, file_description
from fitcli.tasks.image_output import check_outputs, numbered, write_image, writing_bytes
from models.denoiser import FITDenoiser


@dataclass(frozen=True, kw_only=True)
class GenerationJob:
    """Images to generate.

    Attributes:
        checkpoint: The model and its preprocessing.
        out: File to write; several images get numbered names, see `numbered`.
        settings: Settings that the pixels depend on.
        limits: Memory limit, folder for the state and file for a preview.
        runtime: Device and precision.
        count: Number of images.
        overwrite: Whether existing files are replaced.
        initial: Image to repaint or to enlarge; None to start from noise.
        first: Number of the first image, which addresses its noise.
        exact: Whether the file holds values in [0, 1] as float32, for the next run of a chain.
        origin: Entries of the description of the files that replace those of this job.
    """

    checkpoint: Checkpoint[FITDenoiser]
    out: Path
    settings: GenerationSettings
    limits: ResourceLimits
    runtime: Runtime
    count: int = 1
    overwrite: bool = False
    initial: InitialImage | None = None
    first: int = 0
    exact: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)

    def run(self) -> Iterator[GeneratedImage]:
        """Generate the images one after the other.

        Raises:
            FitError: The settings do not fit the model or the image, the memory limit is too low, or a file cannot be
                written.
        """
        paths, resumed = numbered(self.out, self.count), False
        prepared = prepare(self.checkpoint, self.settings, self.runtime, self.initial)
        if self.exact:
            prepared = replace(prepared, info=replace(prepared.info, dtype=np.dtype(np.float32)))
        if self.initial is not None and prepared.source is not None:
            _warn_of_stretching(self.initial.image.path, prepared.source.size, self.settings.size)
        with ExitStack() as stack:
            state = None
            if self.limits.state is not None:
                state = FolderJournal(self.limits.state, self._description(paths))
                stack.callback(state.close)
                resumed = state.has_position
            # A resumed job may replace the files that it has written itself.
            check_outputs(paths, self.overwrite or resumed, prepared.info)
            if self.limits.preview is not None:
                inputs = [] if self.initial is None else [self.initial.image.path]
                check_not_replaced("--preview", [self.limits.preview], [*inputs, *paths])
            plan = self._plan(prepared, paths[0], state)
            if self.limits.memory_bytes is not None:
                console.log(plan.summary())
            saved = state.load() if state is not None else None
            last = self.first + self.count
            for number in range(self.first if saved is None else int(saved["image"]), last):

                def generate(handful: int, number: int = number) -> GeneratedImage:
                    return self._generate(
                        prepared, plan.with_handful(handful), state, number, paths[number - self.first]
                    )

                # A second attempt begins the image again, or continues its saved state.
                yield with_less(self.runtime.device, generate, plan.passes.handful)
            if state is not None:
                state.remove()

    def _generate(
        self, prepared: Prepared, plan: GenerationPlan, state: FolderJournal | None, number: int, path: Path
    ) -> GeneratedImage:
        began = time.perf_counter()
        with console.status(path.name) as show, self._given(prepared, plan, number) as given:
            generation = ImageGeneration(
                checkpoint=self.checkpoint,
                runtime=self.runtime,
                settings=self.settings,
                plan=plan,
                stages=prepared.stages,
                number=number,
                condition=prepared.condition,
                source=prepared.source,
                inpainting=prepared.inpainting,
                given=given,
                state=state,
                listener=self._listener(prepared, show),
            )
            with generation.result() as canvas:
                diffusion, preprocessing = diffusion_of(self.checkpoint.config), self.checkpoint.config.preprocessing
                read = generated_pixels(canvas, diffusion.patch, diffusion.scale, preprocessing, given, self.exact)
                if self.initial is not None and self.initial.window is not None:
                    assert prepared.context is not None
                    image, window = self.initial.image, self.initial.window
                    read = repainted_pixels(image, preprocessing, read, prepared.context, window)
                show(0, "writing")
                write_image(
                    path,
                    prepared.info,
                    read,
                    file_description(self._origin(prepared), self._model_hash, number),
                    lossless=prepared.context is not None or self.exact,
                )
        if state is not None:
            generation.finish(number + 1)
        return GeneratedImage(
            path=path,
            info=prepared.info,
            number=number,
            seconds=time.perf_counter() - began,
            peak_bytes=self.runtime.peak_bytes(),
            about={"memory": plan.as_dict()},
        )

    def _given(
        self, prepared: Prepared, plan: GenerationPlan, number: int
    ) -> AbstractContextManager[GivenImage | None]:
        """Open the smaller version of an image; None for a run that does not see one."""
        diffusion = diffusion_of(self.checkpoint.config)
        if prepared.smaller is None or diffusion.enlarging is None:
            return nullcontext()
        return given_image(
            prepared.smaller.read,
            prepared.smaller.size,
            self.checkpoint.config.preprocessing.channels,
            diffusion.enlarging,
            diffusion.patch,
            diffusion.scale,
            prepared.noise,
            self.settings.seed,
            number,
            plan.canvas,
        )

    def _origin(self, prepared: Prepared) -> dict[str, Any]:
        """Return the settings, and the name and window of the initial image, for the description of a file.

        The folder of the initial image is left out: the file may be shared.
        """
        origin: dict[str, Any] = dataclasses.asdict(self.settings) | {"size": prepared.info.size}
        if self.initial is not None:
            window = self.initial.window
            origin["given"] = self.initial.image.path.name
            origin["window"] = None if window is None else dataclasses.astuple(window)
        return {**origin, **self.origin}

    @cached_property
    def _model_hash(self) -> str:
        return model_hash(self.checkpoint)

    def _plan(self, prepared: Prepared, path: Path, state: FolderJournal | None) -> GenerationPlan:
        """Return the plan of the job that is continued, or a new one."""
        if state is not None and state.plan is not None:
            return GenerationPlan.from_state(state.plan)
        model, largest = self.checkpoint.model, prepared.stages[-1]
        changed = len(changed_quantities(largest, self.settings)) * (2 if state is not None else 1)
        side = diffusion_of(self.checkpoint.config).patch * model.config.group
        plan = plan_generation(
            DENOISING,
            model.config,
            weights_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
            groups=max(layout.count for layout in largest.layouts),
            canvases=changed + bool(self.settings.guidance),
            coarser=len(prepared.stages) > 1 or prepared.smaller is not None,
            runtime=self.runtime,
            memory_bytes=self.limits.memory_bytes,
            reader_bytes=0 if self.initial is None else reader_bytes(self.initial.image, side),
            finish_bytes=writing_bytes(path, prepared.info),
            on_disk=state is not None,
        )
        if state is not None:
            state.save_plan(plan.for_state())
        return plan

    def _listener(self, prepared: Prepared, show: Callable[[float, str | None], None]) -> Listener:
        stages = prepared.stages
        work = sum(map(self._work, stages)) * len(self.checkpoint.model.config.segments)
        preview = self.limits.preview and Preview(self.limits.preview, diffusion_of(self.checkpoint.config).scale)

        def step(index: int, number: int) -> None:
            height, width = stages[index].size
            peak = size_text(self.runtime.peak_bytes())
            show(0, f"{width}x{height} step {number + 1}/{stages[index].steps}, peak {peak}")

        def done(stage: Stage, layout: CanvasLayout, number: int, result: StepResult) -> None:
            if preview and preview.is_due(stage, layout, number):
                try:
                    preview.update(stage, layout, result)
                except ImageError as error:
                    # A failed preview must not end hours of work.
                    console.warning(str(error))

        return Listener(advance=lambda groups: show(groups / work, None), step=step, done=done)

    def _work(self, stage: Stage) -> int:
        """Return how many groups a stage predicts; a group that is guided counts twice."""
        sampling = stage_sampling(diffusion_of(self.checkpoint.config), self.settings, stage)
        guided = [sampling.guidance_at(k) > 0 for k in range(stage.steps)]
        # With shifted groups, the last step has two passes.
        passes = zip(stage.pass_layouts(), [*guided, guided[-1]], strict=False)
        return sum(layout.count * (1 + twice) for layout, twice in passes)

    def _description(self, paths: list[Path]) -> dict[str, Any]:
        """Return everything that the pixels depend on, and the output files, as JSON data."""
        initial: dict[str, Any] = {}
        if self.initial is not None:
            path, window = self.initial.image.path, self.initial.window
            initial = {
                "image": os.path.realpath(path),
                "image bytes": stored_bytes(path),
                "image time": path.stat().st_mtime_ns,
                **({"image planes": str(self.initial.image.choice)} if self.initial.image.choice else {}),
                "window": None if window is None else dataclasses.asdict(window),
            }
        return {
            "purpose": "generate",
            "fit": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "checkpoint": self._model_hash,
            "device": self.runtime.device.type,
            "precision": self.runtime.arithmetic,
            "out": [os.path.realpath(path) for path in paths],
            **dataclasses.asdict(self.settings),
            # Earlier versions shifted the groups and did not blend.
            **({} if self.settings.shift_grid is False else {"shifted steps": "blended"}),
            **({"first image": self.first} if self.first else {}),
            **initial,
        }


def _warn_of_stretching(path: Path, given: tuple[int, int], size: tuple[int, int]) -> None:
    """Warn if an image is stretched by more than the rounding to whole pixels."""
    (height, width), (to_height, to_width) = given, size
    fitting = round(to_width * height / width), round(to_height * width / height)
    if abs(fitting[0] - to_height) > 1 and abs(fitting[1] - to_width) > 1:
        kept = (fitting[0], to_width) if fitting[0] < to_height else (to_height, fitting[1])
        console.warning(
            f"{path}: is {height} x {width} pixels (height x width) and will be stretched to {to_height} x {to_width}; "
            f"--height {kept[0]} --width {kept[1]} keeps its shape"
        )
