"""Synthetic landscapes of any size with small marks on them, rendered window by window. numpy only, no files.

What a scene is of (its class) is decided by the pattern inside a few small round marks. The pattern has the same size,
contrast and mean for every class and its mean is that of the ground, so that neither a thumbnail nor the colours of the
image give the class away: one has to look at the pixels, and find the marks first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.window import Window

CLASSES = ("checks", "rings", "stripes")
"""The patterns inside the marks."""

OCTAVES = (512, 256, 128, 64, 32, 16, 8)
"""Lattice spacing of the ground's noise, in pixels; amplitude is proportional to its power 0.8."""

CONTRAST = 42.0
"""Half the difference between the light and dark parts of a mark, in grey levels."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mark:
    """A round mark: centre and radius in pixels, period of its pattern in pixels, orientation in radians."""

    y: float
    x: float
    radius: float
    period: float
    angle: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One landscape. The same arguments always give the same pixels.

    Attributes:
        seed: Of everything random in it.
        height, width: In pixels.
        label: One of `CLASSES`.
        marks: How many marks lie on it.
    """

    seed: int
    height: int
    width: int
    label: str
    marks: int
    _lattices: list[Floats] = field(init=False, repr=False)
    _palette: Floats = field(init=False, repr=False)
    _placed: list[Mark] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.label not in CLASSES:
            raise ValueError(f"a scene shows one of {', '.join(CLASSES)}, not {self.label!r}")
        # The ground is drawn before the marks and without the label: it cannot know the class.
        rng = np.random.default_rng([self.seed, 0])
        lattices = [
            rng.standard_normal((2, self.height // spacing + 3, self.width // spacing + 3), dtype=np.float32)
            for spacing in OCTAVES
        ]
        palette = np.array([[52, 84, 60], [128, 140, 88], [196, 180, 142]], np.float32)
        object.__setattr__(self, "_lattices", lattices)
        object.__setattr__(self, "_palette", palette + rng.normal(0, 10, palette.shape).astype(np.float32))
        object.__setattr__(self, "_placed", self._place(np.random.default_rng([self.seed, 1])))

    @property
    def placed(self) -> list[Mark]:
        """Where the marks lie."""
        return list(self._placed)

    def _place(self, rng: np.random.Generator) -> list[Mark]:
        """Marks that don't touch each other or the edge."""
        placed: list[Mark] = []
        while len(placed) < self.marks:
            radius = rng.uniform(20, 30)
            y, x = rng.uniform(radius, self.height - radius), rng.uniform(radius, self.width - radius)
            if all(np.hypot(y - m.y, x - m.x) > radius + m.radius for m in placed):
                placed.append(Mark(y, x, radius, rng.uniform(7, 9), rng.uniform(0, np.pi)))
        return placed

    def render(self, window: Window) -> NDArray[np.uint8]:
        """Pixels [height width 3] of a window of the scene.

        The fine grain is drawn per window: to get the same pixels again, ask for the same windows.
        """
        height, warmth = self._ground(window)
        shade = np.clip(1 + height, 0, 2)[..., None]
        low, middle, high = self._palette
        color = np.where(shade < 1, low + (middle - low) * shade, middle + (high - middle) * (shade - 1))
        color += warmth[..., None] * np.array([9, 2, -9], np.float32)
        for mark in self._placed:
            self._draw(color, window, mark)
        rng = np.random.default_rng([self.seed, 2, window.top, window.left])
        color += rng.normal(0, 3, color.shape)
        return np.clip(np.rint(color), 0, 255).astype(np.uint8)

    def _ground(self, window: Window) -> Floats:
        """Two fields [2 height width] of fractal value noise."""
        ground = np.zeros((2, window.height, window.width), np.float32)
        for spacing, lattice in zip(OCTAVES, self._lattices, strict=True):
            rows = _interpolation(window.top, window.height, spacing, lattice.shape[1])
            columns = _interpolation(window.left, window.width, spacing, lattice.shape[2])
            ground += (spacing / OCTAVES[0]) ** 0.8 * (rows @ lattice @ columns.T)
        return ground * 0.8

    def _draw(self, color: Floats, window: Window, mark: Mark) -> None:
        reach = int(mark.radius) + 2
        box = Window(int(mark.y) - reach, int(mark.x) - reach, 2 * reach + 1, 2 * reach + 1).intersection(window)
        if box.area == 0:
            return
        y = np.arange(box.top, box.bottom, dtype=np.float32)[:, None] - np.float32(mark.y)
        x = np.arange(box.left, box.right, dtype=np.float32)[None, :] - np.float32(mark.x)
        fade = np.clip(mark.radius - np.hypot(y, x), 0, 2) / 2
        pattern = CONTRAST * fade * self._pattern(y, x, mark)
        rows, columns = box.shift(-window.top, -window.left).slices()
        color[rows, columns] += pattern[..., None]

    def _pattern(self, y: Floats, x: Floats, mark: Mark) -> NDArray[Any]:
        """Values in -1 .. 1 of mean about 0 and equal power for every class."""
        turn = 2 * np.pi / mark.period
        u, v = y * np.cos(mark.angle) + x * np.sin(mark.angle), x * np.cos(mark.angle) - y * np.sin(mark.angle)
        if self.label == "stripes":
            return np.sin(turn * u)
        if self.label == "rings":
            return np.sin(turn * np.hypot(y, x))
        return np.sqrt(2) * np.sin(turn * u) * np.sin(turn * v)


def _interpolation(start: int, count: int, spacing: int, size: int) -> Floats:
    """[count size] weights of lattice points for pixels `start` ... `start + count - 1`, smooth between points."""
    places = np.arange(start, start + count) / spacing
    lower = places.astype(np.int64)
    step = places - lower
    step = step * step * (3 - 2 * step)
    weights = np.zeros((count, size), np.float32)
    weights[np.arange(count), lower] = 1 - step
    weights[np.arange(count), lower + 1] = step
    return weights
