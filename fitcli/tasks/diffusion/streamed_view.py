"""Sampling with patches at rest: one streamed pass per prediction, a handful of groups at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.sweeps import Sink, Streaming
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout
from fitcli.tasks.diffusion.sampling import Kept, View
from fitcli.tasks.diffusion.stream import stream_denoiser
from models.denoiser import FITDenoiser
from models.groups import Groups


@dataclass
class StreamedView(View):
    """The patches of one image at rest, as a step of one layout sees them.

    Attributes:
        model: In eval mode.
        arrangement: Of the groups over the canvases.
        how: Handfuls and store of the passes.
        before: What `read` finds.
        after: What `write` fills: the same canvases, or others where what was before has to outlast the step.
    """

    model: FITDenoiser
    arrangement: CanvasLayout
    how: Streaming
    before: Mapping[Kept, Canvas]
    after: Mapping[Kept, Canvas]
    groups: Groups = field(init=False)

    def __post_init__(self) -> None:
        self.images, self.layout = 1, self.arrangement.offset
        self.groups = self.arrangement.groups()
        self._device = next(self.model.parameters()).device

    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        keep = self.model.config.self_condition
        latents = stream_denoiser(
            self.model,
            self.groups,
            lambda part: self.arrangement.read(self.before["x"], part),
            level,
            take,
            self.how,
            condition,
            previous,
            keep,
        )
        return latents if keep else None

    def read(self, kept: Kept, part: slice) -> Tensor:
        canvases = self.after if kept == "unconditional" else self.before
        return to_device(self.arrangement.read(canvases[kept], part), self._device)

    def write(self, kept: Kept, part: slice, values: Tensor) -> None:
        self.arrangement.write(self.after[kept], part, values)
