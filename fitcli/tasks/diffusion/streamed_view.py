"""Samples one image whose patches are stored on canvases, with one streamed pass per prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.sweeps import Sink, Streaming
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout
from fitcli.tasks.diffusion.given_image import GivenImage
from fitcli.tasks.diffusion.grid_blend import GridBlend
from fitcli.tasks.diffusion.sampling import Quantity, View
from fitcli.tasks.diffusion.stream import stream_denoiser
from models.denoiser import FITDenoiser
from models.groups import Groups


@dataclass
class StreamedView(View):
    """The canvases of one image, cut into the groups of one step.

    Attributes:
        model: The denoiser, in eval mode.
        arrangement: Groups over the canvases.
        how: Settings of the passes.
        before: Canvases that `read` reads, by quantity.
        after: Canvases that `write` writes: the same ones, or others if the old values have to outlast the step.
        given: Smaller version that the network sees beside the noisy patches; None for a model that sees none.
        blend: Shares of the estimates of this step beside those of the step before; None if all steps have the same
            groups.
        groups: The groups of the arrangement, as the model takes them.
    """

    model: FITDenoiser
    arrangement: CanvasLayout
    how: Streaming
    before: Mapping[Quantity, Canvas]
    after: Mapping[Quantity, Canvas]
    given: GivenImage | None = None
    blend: GridBlend | None = None
    groups: Groups = field(init=False)

    def __post_init__(self) -> None:
        self.images, self.layout, self.blends = 1, self.arrangement.offset, self.blend is not None
        self.groups = self.arrangement.groups()
        self._device = next(self.model.parameters()).device

    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        keep = self.model.config.self_condition
        if self.given is not None:
            level = torch.stack([level, torch.full_like(level, self.given.level)], dim=1)
        latents = stream_denoiser(
            self.model,
            self.groups,
            self._seen,
            level,
            take,
            self.how,
            condition,
            previous,
            keep,
        )
        return latents if keep else None

    def _seen(self, part: slice) -> Tensor:
        """Return the input of the network [part n p]: noisy patches, and those of the smaller version beside them."""
        noisy = self.arrangement.read(self.before["x"], part)
        if self.given is None:
            return noisy
        return torch.cat([noisy, self.given.patches(self.arrangement, part, noisy.device)], dim=-1)

    def read(self, quantity: Quantity, part: slice) -> Tensor:
        canvases = self.after if quantity == "unconditional" else self.before
        return to_device(self.arrangement.read(canvases[quantity], part), self._device)

    def write(self, quantity: Quantity, part: slice, values: Tensor) -> None:
        self.arrangement.write(self.after[quantity], part, values)

    def share(self, part: slice, like: Tensor) -> Tensor:
        assert self.blend is not None
        return self.blend.share(part, like)

    def companion(self) -> StreamedView:
        assert self.blend is not None
        after = {**self.after, "data": self.before["data"]}
        return StreamedView(self.model, self.blend.before, self.how, self.before, after, self.given)
