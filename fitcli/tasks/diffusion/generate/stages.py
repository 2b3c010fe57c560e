"""From coarse to fine: the sizes at which an image is generated one after the other. Integers only."""

from __future__ import annotations

from dataclasses import dataclass

from fitcli.patches.grid import PatchGrid
from fitcli.tasks.diffusion.canvas import CanvasLayout


@dataclass(frozen=True, slots=True)
class Stage:
    """One size.

    Attributes:
        size: (height, width) in pixels.
        patch: Pixels per side of a patch.
        group: Patches per side of a group.
        start: Time at which it begins: 1 with noise alone.
        steps: Evaluations of the network.
    """

    size: tuple[int, int]
    patch: int
    group: int
    start: float
    steps: int

    def layout(self, shifted: bool = False) -> CanvasLayout:
        """Groups over a canvas of whole groups, from its corner or by half a group above and left of it."""
        grid = PatchGrid(self.size, self.patch, self.group)
        rows, columns = grid.rows * self.group, grid.columns * self.group
        return CanvasLayout(rows, columns, self.group, self.group // 2 if shifted else 0)


def coarse_to_fine(
    target: tuple[int, int], trained: tuple[int, int], given: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """Sizes (height, width) that end with the target, each half of the next, rounded up.

    They begin with the first of no more pixels than the model was trained at or, where an image is given, with the
    last that is no smaller than it.
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
