"""Renders scenes of small marks on clutter, with numpy alone: discs, squares and crosses, and their boxes.

A mark has 7 to 36 pixels per side. Lines of any colour cross the scene, the ground changes slowly, and every pixel has
noise. So colour says nothing about a mark; its shape does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fitcli.images.window import Window

KINDS = ("cross", "disc", "square")
"""Names of the marks, in the order of their numbers."""

LEAST_SIDE, GREATEST_SIDE = 7.0, 36.0
"""Sides of marks, in pixels; their logarithms are spread evenly."""

MARKS, LINES = 30, 25
"""Marks and lines of a scene of 512 x 512 pixels, before marks that would touch others are left out."""

AREA = 512**2

ARM = 0.34
"""Half width of the arms of a cross, as a share of its half side."""

GROUND, WAVE, PERIOD = 120.0, 25.0, 90.0
"""Mean level of the ground, and height and length in radians of its waves, in grey levels and pixels."""

LEAST_CONTRAST = 45.0
"""Least difference between the mean level of a mark and the ground."""

NOISE = 8.0
"""Standard deviation of the noise of every pixel, in grey levels."""

SHORTEST_LINE, LONGEST_LINE = 40.0, 250.0

SQUARE = 128
"""Side of the squares in which marks look for others that they would touch, in pixels."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MarkScene:
    """One scene. The same arguments always give the same pixels.

    Attributes:
        seed: The seed of all random numbers in it.
        height, width: The size, in pixels.
        boxes: Boxes of the marks, (left, top, right, bottom) [n 4].
        kinds: Numbers of the marks, [n].
    """

    seed: int
    height: int
    width: int
    boxes: Floats = field(init=False, repr=False)
    kinds: NDArray[np.int64] = field(init=False, repr=False)
    _colors: Floats = field(init=False, repr=False)
    _lines: Floats = field(init=False, repr=False)
    _waves: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 2 * GREATEST_SIDE:
            raise ValueError(f"a scene of {self.height} x {self.width} pixels has no room for marks")
        rng = np.random.default_rng([self.seed, 0])
        share = self.height * self.width / AREA
        boxes, kinds, colors = self._draw_marks(rng, max(1, round(MARKS * share)))
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "kinds", kinds)
        object.__setattr__(self, "_colors", colors)
        object.__setattr__(self, "_lines", self._draw_lines(rng, round(LINES * share)))
        object.__setattr__(self, "_waves", rng.uniform(-1, 1, (3, 3)))

    def render(self, window: Window) -> NDArray[np.uint8]:
        """Render a window of the scene, [height width 3].

        The noise is drawn per window: only the same windows give the same pixels again.
        """
        rng = np.random.default_rng([self.seed, 1, window.top, window.left])
        pixels = rng.standard_normal((window.height, window.width, 3), dtype=np.float32) * np.float32(NOISE)
        y: Floats = np.arange(window.height, dtype=np.float64) + (window.top + 0.5)
        x: Floats = np.arange(window.width, dtype=np.float64) + (window.left + 0.5)
        base = np.empty_like(pixels)
        for channel, (down, right, phase) in enumerate(self._waves):
            angle = (down * y[:, None] + right * x) / PERIOD + 6 * phase
            base[..., channel] = GROUND + WAVE * np.sin(angle)
        for line in self._lines:
            _paint_line(base, line, y, x)
        reach = GREATEST_SIDE
        left, top, right_, bottom = self.boxes.T
        near = (left < window.right + reach) & (right_ > window.left - reach)
        near &= (top < window.bottom + reach) & (bottom > window.top - reach)
        for number in np.flatnonzero(near):
            _paint_mark(base, self.boxes[number], int(self.kinds[number]), self._colors[number], window)
        pixels += base
        # The conversion truncates: half a grey level more rounds instead.
        return (pixels + np.float32(0.5)).clip(0, 255).astype(np.uint8)

    def _draw_marks(self, rng: np.random.Generator, count: int) -> tuple[Floats, NDArray[np.int64], Floats]:
        sides = np.exp(rng.uniform(np.log(LEAST_SIDE), np.log(GREATEST_SIDE), count))
        room = np.array([self.height, self.width]) - sides[:, None] - 2
        middles = rng.uniform(0, 1, (count, 2)) * room + sides[:, None] / 2 + 1
        kinds = rng.integers(len(KINDS), size=count)
        kept = _apart(middles, sides)
        colors = rng.uniform(20, 235, (count, 3))
        means = colors.mean(axis=1)
        dull = np.abs(means - GROUND) < LEAST_CONTRAST
        colors[dull] = np.where(means[dull, None] > GROUND, 215.0, 30.0)
        middles, sides = middles[kept], sides[kept, None]
        boxes = np.concatenate([middles - sides / 2, middles + sides / 2], axis=1)[:, [1, 0, 3, 2]]
        return boxes, kinds[kept], colors[kept]

    def _draw_lines(self, rng: np.random.Generator, count: int) -> Floats:
        """Return (y, x, down, right, length, red, green, blue) of lines."""
        starts = rng.uniform(0, 1, (count, 2)) * (self.height, self.width)
        angles = rng.uniform(0, np.pi, count)
        lengths = rng.uniform(SHORTEST_LINE, LONGEST_LINE, count)
        return np.column_stack([starts, np.sin(angles), np.cos(angles), lengths, rng.uniform(40, 220, (count, 3))])


def _apart(middles: Floats, sides: Floats) -> list[int]:
    """Return the marks that touch none before them."""
    kept: list[int] = []
    squares: dict[tuple[int, int], list[int]] = {}
    for number, (middle, side) in enumerate(zip(middles, sides, strict=True)):
        row, column = (int(value) for value in middle // SQUARE)
        near = [n for i in (-1, 0, 1) for j in (-1, 0, 1) for n in squares.get((row + i, column + j), ())]
        if all(np.abs(middles[other] - middle).max() >= (sides[other] + side) / 2 for other in near):
            kept.append(number)
            squares.setdefault((row, column), []).append(number)
    return kept


def _paint_line(pixels: NDArray[np.float32], line: Floats, y: Floats, x: Floats) -> None:
    """Paint the part of a line of two pixels that lies in a window; y and x are the middles of its pixels."""
    start, step, length, color = line[:2], line[2:4], line[4], line[5:]
    ends = np.sort(np.stack([start, start + length * step]), axis=0) + np.array([[-2], [2]])
    rows = slice(*np.searchsorted(y, ends[:, 0]))
    columns = slice(*np.searchsorted(x, ends[:, 1]))
    down, right = y[rows, None] - start[0], x[None, columns] - start[1]
    along, across = down * step[0] + right * step[1], down * step[1] - right * step[0]
    pixels[rows, columns][(np.abs(across) < 1) & (along >= 0) & (along <= length)] = color


def _paint_mark(pixels: NDArray[np.float32], box: Floats, kind: int, color: Floats, window: Window) -> None:
    """Paint the part of a mark that lies in a window."""
    left, top, right, bottom = box
    seen = Window(int(top), int(left), int(bottom) + 1 - int(top), int(right) + 1 - int(left)).intersection(window)
    if not seen.area:
        return
    y = (np.arange(seen.top, seen.bottom) + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
    x = (np.arange(seen.left, seen.right) + 0.5 - (left + right) / 2) / ((right - left) / 2)
    down, across = np.abs(y)[:, None], np.abs(x)[None]
    inside = np.maximum(down, across) <= 1
    if KINDS[kind] == "disc":
        inside = down**2 + across**2 <= 1
    elif KINDS[kind] == "cross":
        inside &= np.minimum(down, across) <= ARM
    pixels[seen.shift(-window.top, -window.left).slices()][inside] = color
