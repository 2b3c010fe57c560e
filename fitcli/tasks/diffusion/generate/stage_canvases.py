"""The canvases that hold the patches of one stage between its steps."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout, open_canvas
from fitcli.tasks.diffusion.config import image_values
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.given_image import GivenImage
from fitcli.tasks.diffusion.grid_blend import GridBlend
from fitcli.tasks.diffusion.samplers import MULTISTEP, find_step
from fitcli.tasks.diffusion.sampling import Quantity
from fitcli.tasks.diffusion.streamed_view import StreamedView
from models.denoiser import FITDenoiser


@dataclass(kw_only=True)
class StageCanvases:
    """The canvases of a stage, and the views of its steps.

    With files, every quantity that a step changes has two canvases: the old values outlast the step. Even and odd steps
    then swap them. Even and odd steps also swap the layouts if the grid is shifted.

    Attributes:
        model: The denoiser.
        stage: The stage.
        settings: Settings of the generation.
        how: Settings of the passes.
        canvas: Kind of the stores.
        file: Common start of the names of files that outlast this process; None for canvases that do not.
        stack: Stack that closes the canvases.
        given: Smaller version that the network sees; None for a run that generates from noise alone.
        layouts: Layouts of the steps, in turn.
        views: Views of even and of odd steps.

    Raises:
        FitError: There is not enough memory or disk space.
    """

    model: FITDenoiser
    stage: Stage
    settings: GenerationSettings
    how: Streaming
    canvas: StoreKind
    file: Path | None
    stack: ExitStack
    given: GivenImage | None = None
    layouts: list[CanvasLayout] = field(init=False)
    views: list[StreamedView] = field(init=False)

    def __post_init__(self) -> None:
        self.layouts = self.stage.layouts
        changed = changed_quantities(self.stage, self.settings)
        even = self._open(changed, "even")
        odd = even if self.file is None else self._open(changed, "odd")
        if self.settings.guidance:
            shared = self._open(("unconditional",), "now")
            even, odd = {**even, **shared}, {**odd, **shared}
        self.views = [
            StreamedView(self.model, self._layout(k), self.how, before, after, self.given, self._blend(k))
            for k, (before, after) in enumerate(((even, odd), (odd, even)))
        ]

    def _layout(self, step: int) -> CanvasLayout:
        return self.layouts[step % len(self.layouts)]

    def _blend(self, step: int) -> GridBlend | None:
        own, before = self._layout(step), self._layout(step + 1)
        return GridBlend(own, before, self.stage.patch) if own != before else None

    @property
    def start(self) -> Canvas:
        """The canvas that the first step reads."""
        return self.views[0].before["x"]

    @property
    def result(self) -> Canvas:
        """The canvas with the result of the last step."""
        return self.views[self.stage.steps % 2].before["x"]

    def flush(self, step: int) -> None:
        """Wait until all values that step `step` reads are safe on disk, if they are in files."""
        for name, canvas in self.views[step % 2].before.items():
            if name != "unconditional":
                canvas.flush()

    def remove(self) -> None:
        """Close all canvases and remove their files."""
        for view in self.views:
            for canvas in {**view.before, **view.after}.values():
                canvas.close()
        if self.file is not None:
            for path in self.file.parent.glob(f"{self.file.name}-*"):
                path.unlink()

    def _open(self, names: tuple[str, ...], turn: str) -> dict[Quantity, Canvas]:
        canvases: dict[Quantity, Canvas] = {}
        layout, config = self.layouts[0], self.model.config
        for name in names:
            path = None if self.file is None else self.file.with_name(f"{self.file.name}-{name}-{turn}")
            device = next(self.model.parameters()).device
            canvas = open_canvas(self.canvas, layout.rows, layout.columns, image_values(config), device, path)
            self.stack.callback(canvas.close)
            canvases[cast(Quantity, name)] = canvas
        return canvases


def changed_quantities(stage: Stage, settings: GenerationSettings) -> tuple[Quantity, ...]:
    """Return the quantities that steps change and later steps read; each has a canvas."""
    keeps_data = stage.shift_grid or find_step(settings.sampler) in MULTISTEP
    return ("x", "data") if keeps_data else ("x",)
