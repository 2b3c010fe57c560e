"""Where the patches of one stage rest, step after step."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from fitcli.streaming.sweeps import Streaming
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout, open_canvas
from fitcli.tasks.diffusion.generate.settings import GenerationSettings
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.samplers import MULTISTEP, find_step
from fitcli.tasks.diffusion.sampling import Kept
from fitcli.tasks.diffusion.streamed_view import StreamedView
from models.denoiser import FITDenoiser


@dataclass(kw_only=True)
class Places:
    """The canvases of a stage, and the views of its steps in turn.

    With a file there are two of what a step changes: what was before it outlasts it. Shifted steps alternate too.

    Attributes:
        model: That predicts.
        stage: The size.
        settings: Of the job.
        how: Handfuls and stores of the passes.
        canvas: Where patches rest.
        file: Beginning of the names of the files to rest in, where they have to outlast this process; else None.
        stack: Closes the canvases in the end.

    Raises:
        FitError: There is no room.
    """

    model: FITDenoiser
    stage: Stage
    settings: GenerationSettings
    how: Streaming
    canvas: StoreKind
    file: Path | None
    stack: ExitStack
    layouts: list[CanvasLayout] = field(init=False)
    views: list[StreamedView] = field(init=False)

    def __post_init__(self) -> None:
        self.layouts = [self.stage.layout(), *([self.stage.layout(True)] if self.settings.shift_grid else [])]
        remembers = find_step(self.settings.sampler) in MULTISTEP
        changed = ("x", "data") if remembers else ("x",)
        here = self._open(changed, "even")
        there = here if self.file is None else self._open(changed, "odd")
        if self.settings.guidance:
            shared = self._open(("unconditional",), "now")
            here, there = {**here, **shared}, {**there, **shared}
        self.views = [
            StreamedView(self.model, self.layouts[k % len(self.layouts)], self.how, before, after)
            for k, (before, after) in enumerate(((here, there), (there, here)))
        ]

    @property
    def start(self) -> Canvas:
        """What the first step finds."""
        return self.views[0].before["x"]

    @property
    def result(self) -> Canvas:
        """What the last step has left."""
        return self.views[self.stage.steps % 2].before["x"]

    def flush(self, step: int) -> None:
        """Return when all that step `step` reads would outlast this process."""
        for name, canvas in self.views[step % 2].before.items():
            if name != "unconditional":
                canvas.flush()

    def remove(self) -> None:
        """Release everything, files included."""
        for view in self.views:
            for canvas in {**view.before, **view.after}.values():
                canvas.close()
        if self.file is not None:
            for path in self.file.parent.glob(f"{self.file.name}-*"):
                path.unlink()

    def _open(self, names: tuple[str, ...], turn: str) -> dict[Kept, Canvas]:
        canvases: dict[Kept, Canvas] = {}
        layout, config = self.layouts[0], self.model.config
        for name in names:
            path = None if self.file is None else self.file.with_name(f"{self.file.name}-{name}-{turn}")
            device = next(self.model.parameters()).device
            canvas = open_canvas(self.canvas, layout.rows, layout.columns, config.values, device, path)
            self.stack.callback(canvas.close)
            canvases[cast(Kept, name)] = canvas
        return canvases
