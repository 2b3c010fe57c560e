"""The stages of a generation: the sizes at which an image is generated, from coarse to fine. Integers only."""

from __future__ import annotations

from dataclasses import dataclass

from fitcli.patches.grid import PatchGrid
from fitcli.tasks.diffusion.canvas import CanvasLayout


@dataclass(frozen=True, slots=True)
class Stage:
    """The generation of an image at one size.

    Attributes:
        size: (height, width) in pixels.
        patch: Number of pixels per side of a patch.
        group: Number of patches per side of a group.
        start: Time at which sampling starts; 1 for pure noise.
        steps: Number of steps.
        shift_grid: Whether the groups are shifted by half a group in every other step.
    """

    size: tuple[int, int]
    patch: int
    group: int
    start: float
    steps: int
    shift_grid: bool = False

    def layout(self, shifted: bool = False) -> CanvasLayout:
        """Return the groups over a canvas; shifted, they start half a group above and left of it."""
        grid = PatchGrid(self.size, self.patch, self.group)
        rows, columns = grid.rows * self.group, grid.columns * self.group
        return CanvasLayout(rows, columns, self.group, self.group // 2 if shifted else 0)

    @property
    def layouts(self) -> list[CanvasLayout]:
        """The groups of even and of odd steps; one layout if they are the same."""
        return [self.layout(), *([self.layout(True)] if self.shift_grid else [])]

    def pass_layouts(self) -> list[CanvasLayout]:
        """Return the groups of each prediction: one per step, and with shifted groups both in the last step."""
        layouts = self.layouts
        return [layouts[step % len(layouts)] for step in range(self.steps + self.shift_grid)]


def coarse_to_fine(
    target: tuple[int, int], trained: tuple[int, int], given: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """Return the sizes (height, width) of the stages: each is half of the next, rounded up, and the last is the target.

    Without an initial image, the first size is the largest of these sizes that has no more pixels than the training
    images. With one, it is the smallest that is at least as high and as wide as the initial image.

    Args:
        target: (height, width) of the image, in pixels.
        trained: (height, width) of the training images, in pixels.
        given: (height, width) of the initial image, in pixels; None without one.
    """
    sizes = [target]
    while True:
        height, width = sizes[0]
        half = -(-height // 2), -(-width // 2)
        enough = (
            height * width <= trained[0] * trained[1] if given is None else half[0] < given[0] or half[1] < given[1]
        )
        if enough or half == (height, width):
            return sizes
        sizes.insert(0, half)
