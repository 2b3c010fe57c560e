"""Renders synthetic landscapes of any size with small marks on them, window by window, with numpy alone.

The class of a scene is the pattern inside a few small round marks: fine checks, medium rings or coarse stripes. Inside
a mark the pixels are as much lighter as darker than the ground, by the same amount for every class. So neither a
thumbnail nor the colours of the image reveal the class: a model has to find the marks and look at their pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fitcli.demo.textures import Floats, square_wave
from fitcli.images.window import Window

PERIODS = {"checks": 4.2, "rings": 7.0, "stripes": 11.5}
"""Period of the pattern inside the marks of each class, in pixels."""

CLASSES = tuple(PERIODS)
"""The patterns inside the marks."""

RADII = (24.0, 30.0)
"""Smallest and largest radius of a mark, in pixels."""

CONTRAST = 40.0
"""Root mean square of the pattern of a mark, in grey levels."""

GRAIN = 2.5
"""Standard deviation of the noise of every pixel, in grey levels."""

OCTAVES = (512, 256, 128, 64, 32, 16, 8)
"""Lattice spacing of the ground's noise, in pixels; amplitude is proportional to its power 0.8."""

PALETTE = ((80, 100, 84), (128, 138, 104), (174, 164, 140))
"""Red, green and blue of low, middle and high ground."""

WARMTH = (9, 2, -9)
"""Change of red, green and blue per unit of the second noise field."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A round mark.

    Attributes:
        y, x: The centre, in pixels.
        radius: The radius, in pixels.
        period: The period of its pattern, in pixels.
        angle: The orientation of its pattern, in radians.
    """

    y: float
    x: float
    radius: float
    period: float
    angle: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One landscape. The same arguments always give the same pixels.

    Attributes:
        seed: The seed of all random numbers in it.
        height, width: The size, in pixels.
        label: The class, one of `CLASSES`.
        marks: The number of marks on it.
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
        # The ground is drawn before the marks and without the label, so it cannot depend on the class.
        rng = np.random.default_rng([self.seed, 0])
        lattices = [
            rng.standard_normal((2, self.height // spacing + 3, self.width // spacing + 3), dtype=np.float32)
            for spacing in OCTAVES
        ]
        palette = np.array(PALETTE, np.float32) + rng.normal(0, 8, (3, 3)).astype(np.float32)
        object.__setattr__(self, "_lattices", lattices)
        object.__setattr__(self, "_palette", palette)
        object.__setattr__(self, "_placed", self._place(np.random.default_rng([self.seed, 1])))

    @property
    def placed(self) -> list[Mark]:
        """The marks, with their places."""
        return list(self._placed)

    def _place(self, rng: np.random.Generator) -> list[Mark]:
        """Draw marks that touch neither each other nor the edge."""
        placed: list[Mark] = []
        while len(placed) < self.marks:
            radius = rng.uniform(*RADII)
            y, x = rng.uniform(radius, self.height - radius), rng.uniform(radius, self.width - radius)
            period, angle = PERIODS[self.label] * rng.uniform(0.94, 1.06), rng.uniform(0, np.pi)
            if all(np.hypot(y - m.y, x - m.x) > radius + m.radius for m in placed):
                placed.append(Mark(y, x, radius, period, angle))
        return placed

    def render(self, window: Window) -> NDArray[np.uint8]:
        """Render the pixels [height width 3] of a window of the scene.

        The fine grain is drawn per window: only the same windows give the same pixels again.
        """
        color = self._ground(window)
        for mark in self._placed:
            self._draw(color, window, mark)
        rng = np.random.default_rng([self.seed, 2, window.top, window.left])
        grain = rng.standard_normal((window.height, window.width, 1), dtype=np.float32)
        # The conversion truncates: half a grey level more rounds instead.
        color += grain * np.float32(GRAIN) + np.float32(0.5)
        return np.clip(color, 0, 255, out=color).astype(np.uint8)

    def _ground(self, window: Window) -> Floats:
        """Compute the colours [height width 3] of the landscape below the marks."""
        height, warmth = self._noise(window)
        low, middle, high = self._palette
        np.clip(height, -1, 1, out=height)
        parts = np.stack([np.minimum(height, 0), np.maximum(height, 0), warmth], axis=-1)
        colors = np.stack([middle - low, high - middle, np.array(WARMTH, np.float32)])
        ground: Floats = parts @ colors
        ground += middle
        return ground

    def _noise(self, window: Window) -> Floats:
        """Compute two fields [2 height width] of fractal value noise."""
        rows: list[Floats] = []
        columns: list[Floats] = []
        for spacing, lattice in zip(OCTAVES, self._lattices, strict=True):
            first, across = _interpolation(window.left, window.width, spacing)
            top, down = _interpolation(window.top, window.height, spacing)
            near = lattice[:, top : top + down.shape[1], first : first + across.shape[1]]
            rows.append(down * np.float32(0.8 * (spacing / OCTAVES[0]) ** 0.8))
            columns.append(near @ across.T)
        # The concatenation makes one matrix product sum over all octaves.
        noise: Floats = np.concatenate(rows, axis=1) @ np.concatenate(columns, axis=1)
        return noise

    def _draw(self, color: Floats, window: Window, mark: Mark) -> None:
        reach = int(mark.radius) + 2
        box = Window(int(mark.y) - reach, int(mark.x) - reach, 2 * reach + 1, 2 * reach + 1)
        seen = box.intersection(window)
        if seen.area == 0:
            return
        y = np.arange(box.top, box.bottom, dtype=np.float32)[:, None] - np.float32(mark.y)
        x = np.arange(box.left, box.right, dtype=np.float32)[None, :] - np.float32(mark.x)
        fade = np.clip(mark.radius - np.hypot(y, x), 0, 2) / 2
        pattern = self._pattern(y, x, mark)
        # Neither the mean nor the contrast of a mark may depend on its class.
        pattern = fade * (pattern - np.average(pattern, weights=fade))
        pattern *= CONTRAST / np.sqrt(np.average(pattern**2, weights=fade))
        inside = pattern[seen.shift(-box.top, -box.left).slices()]
        color[seen.shift(-window.top, -window.left).slices()] += inside[..., None]

    def _pattern(self, y: Floats, x: Floats, mark: Mark) -> Floats:
        """Compute the pattern of a mark: light (1) and dark (-1) parts."""
        u, v = y * np.cos(mark.angle) + x * np.sin(mark.angle), x * np.cos(mark.angle) - y * np.sin(mark.angle)
        if self.label == "stripes":
            return square_wave(u, mark.period)
        if self.label == "rings":
            return square_wave(np.hypot(y, x), mark.period)
        return square_wave(u, mark.period) * square_wave(v, mark.period)


def _interpolation(start: int, count: int, spacing: int) -> tuple[int, Floats]:
    """Compute smooth weights [count points] of the lattice points around pixels `start` ... `start + count - 1`.

    Returns:
        The number of the first of these points, and the weights.
    """
    positions = np.arange(start, start + count) / spacing
    lower = positions.astype(np.int64)
    step = positions - lower
    step = step * step * (3 - 2 * step)
    first = start // spacing
    weights = np.zeros((count, (start + count - 1) // spacing + 2 - first), np.float32)
    weights[np.arange(count), lower - first] = 1 - step
    weights[np.arange(count), lower - first + 1] = step
    return first, weights
