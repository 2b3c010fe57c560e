"""Renders scenes in which the colour of a small key says what a texture is called, with numpy alone.

A scene is a mosaic of regions with one of five textures each. Three textures have names of their own. Which of the
other two is "alpha" and which is "beta" depends on the key, a small square that is red or blue and may lie anywhere.
Pixels outside of the key do not depend on its colour, so a part of the scene without the key does not reveal the names.

Two kinds of labels ask different questions of the same pixels. In the first, only checks have a name: alpha in a scene
with a red key, beta with a blue one; stripes have no label. In the second, checks and stripes swap the two names. The
second is an exclusive-or of texture and colour and much harder to learn from the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fitcli.demo.textures import TEXTURES, Floats, texture
from fitcli.images.window import Window

CLASSES = ("alpha", "beta", "grain", "dots", "mesh")
"""Names of the classes, in the order of their numbers."""

UNLABELLED = 255
"""Value of pixels without a label."""

KEY = 48
"""Side of the key, in pixels."""

KEY_COLORS = {False: (230, 40, 40), True: (40, 40, 230)}
"""Red, green and blue of the key, by whether it is blue."""

PITCH = 192.0
"""Mean distance of the regions, in pixels; less where a scene would have fewer than two per side."""

JITTER = (0.18, 0.82)
"""Range of the place of a site in its square, as a share of the side. With sites so far from the sides of their
squares, the site that is nearest to a pixel lies in the square of the pixel or in one of the eight around it."""

BASE, CONTRAST = (85, 170), (28, 50)
"""Ranges of the mean levels of a region, per channel, and of the root mean square of its texture, in grey levels."""

NOISE = 8.0
"""Standard deviation of the noise of every pixel, in grey levels."""


@dataclass(frozen=True, slots=True)
class _Site:
    """A point and the looks of its region, the pixels to which no other point is nearer.

    Attributes:
        y, x: The point, in pixels.
        number: Number of its texture.
        base: Mean red, green and blue.
        contrast: Root mean square of the texture, in grey levels.
        angle: Orientation of the texture, in radians.
        phase: Shift of the texture along its axes, in pixels.
    """

    y: float
    x: float
    number: int
    base: Floats
    contrast: float
    angle: float
    phase: tuple[float, float]


@dataclass(frozen=True, slots=True)
class KeyedScene:
    """One scene. The same arguments always give the same pixels.

    Attributes:
        seed: The seed of all random numbers in it.
        height, width: The size, in pixels; no side shorter than the key.
        blue: Whether the key is blue.
    """

    seed: int
    height: int
    width: int
    blue: bool
    _pitch: float = field(init=False, repr=False)
    _sites: list[list[_Site]] = field(init=False, repr=False)
    _key: Window = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < KEY:
            raise ValueError(f"a scene of {self.height} x {self.width} pixels has no room for its key of {KEY} pixels")
        rng = np.random.default_rng([self.seed, 0])
        object.__setattr__(self, "_pitch", min(PITCH, self.height / 2, self.width / 2))
        object.__setattr__(self, "_sites", self._draw_sites(rng))
        top, left = rng.integers(0, self.height - KEY + 1), rng.integers(0, self.width - KEY + 1)
        object.__setattr__(self, "_key", Window(int(top), int(left), KEY, KEY))

    @property
    def key(self) -> Window:
        """The place of the key."""
        return self._key

    def render(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Render a window of the scene.

        The noise is drawn per window: only the same windows give the same pixels again.

        Returns:
            The pixels [height width 3], and the numbers of their textures [height width], 255 on the key.
        """
        rng = np.random.default_rng([self.seed, 1, window.top, window.left])
        grain = rng.standard_normal((window.height, window.width), dtype=np.float32)
        color = rng.standard_normal((window.height, window.width, 3), dtype=np.float32)
        color *= np.float32(NOISE)
        sites = self._sites_near(window)
        nearest = _nearest(sites, window)
        for number, site in enumerate(sites):
            _draw(color, grain, site, nearest == number, window)
        textures = np.array([site.number for site in sites], np.uint8)[nearest]
        seen = self._key.intersection(window)
        if seen.area:
            place = seen.shift(-window.top, -window.left).slices()
            color[place] = np.array(KEY_COLORS[self.blue], np.float32)
            textures[place] = UNLABELLED
        # The conversion truncates: half a grey level more rounds instead.
        color += np.float32(0.5)
        return np.clip(color, 0, 255, out=color).astype(np.uint8), textures

    def labels(self, textures: NDArray[np.uint8], both: bool) -> NDArray[np.uint8]:
        """Return the classes of pixels.

        Args:
            textures: Numbers of the textures, 255 for none.
            both: Whether both textures without a name of their own are labelled; otherwise only checks.
        """
        of_checks, of_stripes = (1, 0) if self.blue else (0, 1)
        table = np.full(256, UNLABELLED, np.uint8)
        for number, name in enumerate(TEXTURES):
            own = {"checks": of_checks, "stripes": of_stripes if both else UNLABELLED}
            table[number] = own[name] if name in own else CLASSES.index(name)
        return table[textures]

    def _draw_sites(self, rng: np.random.Generator) -> list[list[_Site]]:
        """Draw one site for each square of the pitch, and for one more square on each side of the scene."""
        rows, columns = (int(np.ceil(side / self._pitch)) + 2 for side in (self.height, self.width))
        numbers = rng.integers(0, len(TEXTURES), (rows, columns))
        # The four squares in the middle have four textures. Both without a name of their own occur in every scene.
        named = [number for number, name in enumerate(TEXTURES) if name in CLASSES]
        nameless = [number for number, name in enumerate(TEXTURES) if name not in CLASSES]
        middle = rng.permutation([*nameless, *rng.choice(named, 2, replace=False)])
        numbers[rows // 2 - 1 : rows // 2 + 1, columns // 2 - 1 : columns // 2 + 1] = middle.reshape(2, 2)
        return [
            [self._draw_site(rng, row - 1, column - 1, int(numbers[row, column])) for column in range(columns)]
            for row in range(rows)
        ]

    def _draw_site(self, rng: np.random.Generator, row: int, column: int, number: int) -> _Site:
        y, x = ((place + rng.uniform(*JITTER)) * self._pitch for place in (row, column))
        base, contrast = rng.uniform(*BASE, 3).astype(np.float32), rng.uniform(*CONTRAST)
        angle = rng.uniform(0, np.pi)
        return _Site(y, x, number, base, contrast, angle, (rng.uniform(0, 100), rng.uniform(0, 100)))

    def _sites_near(self, window: Window) -> list[_Site]:
        """Return the sites of the squares that a window touches, and of their neighbours."""
        top, left = int(window.top / self._pitch), int(window.left / self._pitch)
        bottom, right = int((window.bottom - 1) / self._pitch), int((window.right - 1) / self._pitch)
        return [site for row in self._sites[top : bottom + 3] for site in row[left : right + 3]]


def _nearest(sites: list[_Site], window: Window) -> NDArray[np.int16]:
    """Return the number of the nearest site of every pixel [height width]."""
    y, x = _coordinates(window)
    least = np.full((window.height, window.width), np.inf, np.float32)
    nearest = np.zeros((window.height, window.width), np.int16)
    for number, site in enumerate(sites):
        distance = (y - np.float32(site.y - window.top)) ** 2 + (x - np.float32(site.x - window.left)) ** 2
        closer = distance < least
        np.copyto(nearest, np.int16(number), where=closer)
        np.minimum(least, distance, out=least)
    return nearest


def _draw(color: Floats, grain: Floats, site: _Site, region: NDArray[np.bool_], window: Window) -> None:
    """Add the colours of a region."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not rows.size:
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    y, x = _coordinates(window)
    # Relative to the site, so that the numbers are small enough for float32 on a scene of any size.
    y, x = y[box[0]] - np.float32(site.y - window.top), x[:, box[1]] - np.float32(site.x - window.left)
    cosine, sine = np.float32(np.cos(site.angle)), np.float32(np.sin(site.angle))
    u = y * cosine + x * sine + np.float32(site.phase[0])
    v = x * cosine - y * sine + np.float32(site.phase[1])
    pattern = np.float32(site.contrast) * texture(TEXTURES[site.number], u, v, grain[box])
    color[box] += np.where(region[box][..., None], pattern[..., None] + site.base, np.float32(0))


def _coordinates(window: Window) -> tuple[Floats, Floats]:
    """Return the rows [height 1] and columns [1 width] of the middles of pixels, from the corner of the window."""
    rows, columns = (np.arange(count, dtype=np.float32) + np.float32(0.5) for count in (window.height, window.width))
    return rows[:, None], columns[None]
