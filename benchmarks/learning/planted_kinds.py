"""Draws the three kinds of planted data sets: pathology slides, satellite scenes and wells of a microscope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.planted_places import (
    Place,
    PlannedImage,
    PlantedKind,
    SmoothNoise,
    Values,
    add_spots,
    draw_disks,
    inside,
    jittered,
)
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference
from fitcli.images.window import Window

Draw = Callable[[Window], NDArray[Any]]

STAINS = (
    np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], np.float32),
    np.array([[0.55, 0.76, 0.35], [0.20, 0.93, 0.30]], np.float32),
)
"""Optical density of haematoxylin and eosin in red, green and blue, by scanner."""

GLASS = (np.array([243, 242, 244], np.float32), np.array([236, 238, 230], np.float32))
"""Colour of the empty glass, by scanner."""

NUCLEI = {"small": (3.2, 9.0), "large": (7.0, 19.7)}
"""Radius and distance of the nuclei in a nest, in pixels: they cover the same area for both classes."""

TISSUE = 1 / 3
"""Share of a slide that tissue covers."""


def _paint_slide(image: PlannedImage) -> Draw:
    rng, scanner = image.rng(1), image.group // 2 % 2
    outline = SmoothNoise(rng, *_size(image), (400, 150))
    stroma = SmoothNoise(rng, *_size(image), (64, 24, 8))
    thumbnail = np.concatenate(
        [outline.draw(Window(y, 0, 1, image.width))[:, ::16] for y in range(0, image.height, 16)]
    )
    threshold, strength = float(np.quantile(thumbnail, 1 - TISSUE)), rng.uniform(0.8, 1.2, 2)
    stains = STAINS[scanner] * np.asarray(strength, np.float32)[:, None]
    nuclei = _nuclei(image, rng)

    def tissue(window: Window) -> Values:
        covered = outline.draw(window) - np.float32(threshold)
        y, x = _coordinates(window)
        for place in image.places:
            np.maximum(covered, (place.radius + 25 - np.hypot(y - place.y, x - place.x)) / 40, out=covered)
        return np.asarray(np.clip(covered * 12 + 0.5, 0, 1), np.float32)

    def draw(window: Window) -> NDArray[np.uint8]:
        covered, blue = tissue(window), np.zeros((window.height, window.width), np.float32)
        draw_disks(blue, window, nuclei)
        noise = stroma.draw(window)
        density = np.stack([covered * (blue + 0.05), covered * np.clip(0.28 + 0.09 * noise, 0.05, 0.8)], axis=-1)
        color = GLASS[scanner] * np.power(np.float32(10), -(density @ stains))
        color += image.rng(2, window.top).normal(0, 2.0, color.shape).astype(np.float32)
        return np.asarray(np.clip(np.rint(color), 0, 255), np.uint8)

    return draw


def _nuclei(image: PlannedImage, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (y, x, radius, strength) of the nuclei: a few everywhere, many in the nests."""
    points = jittered(rng, 0, 0, *_size(image), 26)
    for place in image.places:
        points = points[~inside(points, place)]
    sets = [(points, 4.6)]
    radius, pitch = NUCLEI[image.label]
    for place in image.places:
        near = jittered(rng, place.y - place.radius, place.x - place.radius, 2 * place.radius, 2 * place.radius, pitch)
        sets.append((near[inside(near, place)], radius))
    disks = [
        np.concatenate([p, r * rng.uniform(0.8, 1.2, (len(p), 1)), rng.uniform(0.5, 0.9, (len(p), 1))], axis=1)
        for p, r in sets
    ]
    return np.concatenate(disks)


STRESSED = 0.55
"""Factor of the near infrared in stressed fields."""

SOILS = np.array(
    [[700, 900, 800, 3000], [500, 750, 600, 3600], [1000, 1300, 1700, 2300], [450, 600, 450, 2600]], np.float32
)
"""Reflectance x 10000 in blue, green, red and near infrared, by kind of ground."""

WATER = np.array([350, 300, 200, 120], np.float32)
CROP = np.array([420, 720, 480, 3700], np.float32)

NODATA_SHARE = 0.4
"""Legs of the triangle without data in a corner, as a share of the sides: 8 % of the area."""


def _without_data(image: PlannedImage, y: Values, x: Values) -> Values:
    """Return a number that is positive where the scene has no data."""
    corner = image.rng(3).integers(4)
    down, across = y / image.height, x / image.width
    down, across = (1 - down if corner & 1 else down), (1 - across if corner & 2 else across)
    return np.asarray(NODATA_SHARE - down - across, np.float32)


def _on_data(image: PlannedImage, place: Place) -> bool:
    angles = np.linspace(0, 2 * np.pi, 16)
    y, x = place.y + place.radius * np.sin(angles), place.x + place.radius * np.cos(angles)
    return bool((_without_data(image, y.astype(np.float32), x.astype(np.float32)) < 0).all())


def _paint_scene(image: PlannedImage) -> Draw:
    rng = image.rng(1)
    noise = [SmoothNoise(rng, *_size(image), (200, 60, 16, 5)) for _ in range(2)]
    ponds = SmoothNoise(rng, *_size(image), (90,))
    seeds = jittered(rng, -80, -80, image.height + 160, image.width + 160, 80)
    columns = len(np.arange(-80, image.width + 80, 80))
    kinds, angles = rng.integers(0, len(SOILS), len(seeds)), rng.uniform(0, np.pi, len(seeds))
    brightness = rng.uniform(0.85, 1.15, (len(seeds), 1)).astype(np.float32)
    gain = np.append(np.full(3, rng.uniform(0.85, 1.15)), rng.uniform(0.8, 1.25)).astype(np.float32)
    fields = SOILS[kinds] * brightness
    circles = [(place, CROP * np.array([1, 1, 1, STRESSED], np.float32)) for place in image.places]
    circles += [(place, CROP) for place in _healthy_fields(image, rng)]

    def draw(window: Window) -> NDArray[np.uint16]:
        y, x = (np.broadcast_to(c, (window.height, window.width)) for c in _coordinates(window))
        nearest = _nearest(seeds, columns, y, x)
        bands, angle = fields[nearest], angles[nearest].astype(np.float32)
        for place, values in circles:
            bands[np.hypot(y - place.y, x - place.x) < place.radius] = values
        rows = 1 + 0.04 * np.sin((y * np.sin(angle) + x * np.cos(angle)) * np.float32(2 * np.pi / 6))
        visible, infrared = (1 + 0.06 * each.draw(window) for each in noise)
        bands *= rows[..., None] * np.stack([visible, visible, visible, infrared], axis=-1)
        bands[ponds.draw(window) > 2.4] = WATER
        bands = bands * gain + image.rng(2, window.top).normal(0, 25, bands.shape)
        stored = np.clip(np.rint(bands), 1, 10000).astype(np.uint16)
        stored[_without_data(image, y, x) > 0] = 0
        return stored

    return draw


def _healthy_fields(image: PlannedImage, rng: np.random.Generator) -> list[Place]:
    """Return round fields of healthy crop, which both classes have."""
    fields: list[Place] = []
    wanted = max(2, round(image.height * image.width / 70_000))
    for _ in range(50 * wanted):
        radius = rng.uniform(*SCENES.radii)
        place = Place(rng.uniform(0, image.height), rng.uniform(0, image.width), radius)
        if all(np.hypot(place.y - p.y, place.x - p.x) > radius + p.radius for p in (*image.places, *fields)):
            fields.append(place)
        if len(fields) == wanted:
            break
    return fields


def _nearest(seeds: NDArray[np.float64], columns: int, y: Values, x: Values) -> NDArray[np.int64]:
    """Return the number of the nearest seed of each pixel; seeds lie on a moved grid of 80 pixels from -80."""
    best, number = np.full(y.shape, np.inf, np.float32), np.zeros(y.shape, np.int64)
    row, column = (y / 80).astype(np.int64) + 1, (x / 80).astype(np.int64) + 1
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            each = np.clip((row + down) * columns + column + across, 0, len(seeds) - 1)
            distance = np.hypot(y - seeds[each, 0].astype(np.float32), x - seeds[each, 1].astype(np.float32))
            closer = distance < best
            best[closer], number[closer] = distance[closer], each[closer]
    return number


SPOTS = {"control": 0.9, "treated": 2.2}
"""Standard deviation of the spots in the cells of a planted place, in pixels."""

LIGHT, SPOTS_PER_CELL = 9_000.0, 7
"""Sum of a spot, in counts, the same for both classes; number of spots of a cell."""

OFFSET, READ_NOISE = 100.0, 6.0
"""Camera: counts without light, and standard deviation of their noise."""


def _paint_well(image: PlannedImage) -> Draw:
    rng = image.rng(1)
    cells = jittered(rng, -20, -20, image.height + 40, image.width + 40, 34)
    uneven = SmoothNoise(rng, *_size(image), (200, 12, 5))
    strengths = rng.uniform(0.6, 1.4, (3, len(cells), 1)) * rng.uniform(0.8, 1.25)
    nuclei = np.concatenate([cells, rng.uniform(5.5, 7.5, (len(cells), 1)), 300 * strengths[0]], axis=1)
    bodies = np.concatenate([cells, rng.uniform(12, 16, (len(cells), 1)), 150 * strengths[1]], axis=1)
    planted = np.concatenate([cells[inside(cells, place)] for place in image.places])
    centers = np.repeat(planted, SPOTS_PER_CELL, axis=0) + rng.normal(0, 5, (len(planted) * SPOTS_PER_CELL, 2))
    light = LIGHT * rng.uniform(0.7, 1.3, (len(centers), 1))
    spots = np.concatenate([centers, np.full((len(centers), 1), SPOTS[image.label]), light], axis=1)

    def draw(window: Window) -> NDArray[np.uint16]:
        counts = np.zeros((3, window.height, window.width), np.float32)
        draw_disks(counts[0], window, nuclei)
        draw_disks(counts[1], window, bodies)
        draw_disks(counts[2], window, bodies * [1, 1, 1, 0.4])
        counts *= np.clip(1 + 0.25 * uneven.draw(window), 0.2, 2)
        add_spots(counts[2], window, spots)
        noise = image.rng(2, window.top)
        counts = OFFSET + counts + noise.normal(0, 1, counts.shape) * np.sqrt(READ_NOISE**2 + counts)
        hot = noise.random(counts.shape) < 1e-5
        counts[hot] = noise.uniform(3_000, 40_000, int(hot.sum()))
        return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16).transpose(1, 2, 0)

    return draw


def _size(image: PlannedImage) -> tuple[int, int]:
    return image.height, image.width


def _coordinates(window: Window) -> tuple[Values, Values]:
    y = np.arange(window.top, window.top + window.height, dtype=np.float32)[:, None]
    return y, np.arange(window.left, window.left + window.width, dtype=np.float32)[None, :]


def _slide_info(image: PlannedImage) -> ImageInfo:
    return ImageInfo(height=image.height, width=image.width, channels=3, dtype=np.dtype(np.uint8), color=True, mpp=0.5)


def _scene_info(image: PlannedImage) -> ImageInfo:
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    east, north = 500_000.0 + 60_000 * image.group, 5_400_000.0
    geo = GeoReference(scale=(10.0, 10.0, 0.0), tiepoints=(0.0, 0.0, 0.0, east, north, 0.0), keys=keys)
    dtype = np.dtype(np.uint16)
    return ImageInfo(height=image.height, width=image.width, channels=4, dtype=dtype, nodata=0, geo=geo)


def _well_info(image: PlannedImage) -> ImageInfo:
    return ImageInfo(height=image.height, width=image.width, channels=3, dtype=np.dtype(np.uint16), mpp=0.65)


def _anywhere(image: PlannedImage, place: Place) -> bool:
    return True


SLIDES = PlantedKind(
    classes=("small", "large"),
    pointed=("small", "large"),
    images=60,
    per_group=2,
    sides=(1000, 1500),
    radii=(60, 95),
    places=(1, 4),
    clear=_anywhere,
    path=lambda number, group: f"P{group:02}-{number:02}{'.ome.tif' if number % 3 == 2 else '.svs'}",
    info=_slide_info,
    painter=_paint_slide,
    split=True,
)

SCENES = PlantedKind(
    classes=("healthy", "stressed"),
    pointed=("stressed",),
    images=48,
    per_group=1,
    sides=(380, 640),
    radii=(38, 52),
    places=(2, 4),
    clear=_on_data,
    path=lambda number, group: f"S{group:03}.tif",
    info=_scene_info,
    painter=_paint_scene,
    in_folders=True,
)

WELLS = PlantedKind(
    classes=("control", "treated"),
    pointed=("control", "treated"),
    images=48,
    per_group=1,
    sides=(360, 400),
    radii=(40, 55),
    places=(1, 3),
    clear=_anywhere,
    path=lambda number, group: f"W{group:03}{'.ome.tif' if number % 3 == 2 else '.zarr'}",
    info=_well_info,
    painter=_paint_well,
)

KINDS = {"slides": SLIDES, "scenes": SCENES, "wells": WELLS}
