"""Makes the pictures of docs/viewing.md: real pages of `fit view` in Chromium, over files that are made on the spot.

    python -m benchmarks.viewing_pictures [--out docs]

Needs Playwright and a Chromium of the system (FIT_CHROMIUM, or /usr/bin/chromium). The scenes are those of `fit demo`;
the map and the polygons are their true labels, the evidence is drawn.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.annotations.class_colors import with_colors
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.features import open_features
from fitcli.annotations.trace import Tracer
from fitcli.demo.keyed_dataset import write_scene
from fitcli.demo.keyed_scenes import CLASSES, KeyedScene
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.layer import create_layer
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE
from fitcli.tasks.segment.class_map import legend
from fitcli.view.answers import Answers
from fitcli.view.scene import ViewScene
from fitcli.view.server import ViewServer

SIDE = 2048

NAMES = ("DAPI", "CD3", "CD8", "PanCK")
"""Channels of the fluorescence image."""


def write(path: Path, pixels: Pixels, description: str | None = None, **settings: Any) -> Path:
    """Write an image."""
    height, width, channels = pixels.shape
    options = {name: settings.pop(name) for name in ("classes", "resampling") if name in settings}
    info = ImageInfo(height=height, width=width, channels=channels, dtype=pixels.dtype, **settings)
    with create_image(path, info, description=description, **options) as canvas:
        canvas.write(Window(0, 0, height, width), pixels)
    return path


def make_scene(folder: Path) -> list[Path]:
    """Write a scene of `fit demo`, the map of its classes and their polygons, as `fit segment` writes them."""
    scene, labels = folder / "scene.tif", folder / "labels.png"
    write_scene(KeyedScene(7, SIDE, SIDE, True), scene, {"labels": labels})
    with open_image(scene) as image, open_image(labels, indices=True) as grey:
        info, values = image.info, grey.read(Window(0, 0, SIDE, SIDE))
    table = with_colors(ClassTable(CLASSES, tuple(range(len(CLASSES)))))
    layer = replace(info, channels=1, color=False, nodata=255, levels=(), chunk=None)
    map_path, polygons = folder / "map.tif", folder / "polygons.geojson"
    with create_layer(
        map_path, layer, outside=255, resampling="nearest", description=legend(table), classes=CLASSES
    ) as canvas:
        canvas.write(Window(0, 0, SIDE, SIDE), values)
    tracer = Tracer(SIDE, 1, (SIDE, SIDE), [255], 2000.0)
    with open_features(polygons, table, info, True) as features:
        features.write(tracer.add(values[..., 0]))
        features.write(tracer.finish())
    return [scene, map_path, polygons]


def make_heat_map(folder: Path) -> Path:
    """Write a layer of evidence around two places, one value per 16 pixels."""
    rows, columns = np.mgrid[8:SIDE:16, 8:SIDE:16]
    places = ((600, 1300, 130), (1500, 500, 220))
    values = sum(200 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * side**2)) for y, x, side in places)
    pixels = np.asarray(values, np.float32)[..., None]
    pixels[:, -10:] = np.nan
    title = f"Evidence: {EVIDENCE.unit}"
    return write(folder / "evidence.tif", pixels, title, nodata=float("nan"))


def make_fluorescence(folder: Path) -> tuple[Path, Path]:
    """Write four channels of 16 bits with spots, and the middles of the spots of two channels as points."""
    random = np.random.default_rng(3)
    pixels = 200 + random.normal(0, 30, (SIDE, SIDE, len(NAMES)))
    rows = ["path,x,y,label"]
    for channel in range(len(NAMES)):
        for x, y, side, light in random.uniform((40, 40, 6, 900), (SIDE - 40, SIDE - 40, 22, 3000), (260, 4)).tolist():
            reach = int(3 * side)
            top, left = max(0, int(y) - reach), max(0, int(x) - reach)
            part = pixels[top : top + 2 * reach, left : left + 2 * reach, channel]
            down, across = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
            part += light * np.exp(-((down - y) ** 2 + (across - x) ** 2) / (2 * side**2))
            if channel in (1, 2):
                rows.append(f"cells.ome.tif,{x:.1f},{y:.1f},{NAMES[channel]}")
    path = write(folder / "cells.ome.tif", pixels.clip(0, 65535).astype(np.uint16), mpp=0.5, channel_names=NAMES)
    (folder / "cells.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path, folder / "cells.csv"


def take(browser: Any, path: Path, files: Sequence[Path], keys: Sequence[str] = (), **options: Any) -> None:
    """Show files, press keys, point at the middle, and save what is seen."""
    scales = {"Evidence": EVIDENCE, "Contribution": CONTRIBUTION}
    with ViewScene(files, scales=scales, **options) as scene, ViewServer(Answers(scene)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.goto(server.url)
        page.wait_for_selector("section")
        time.sleep(2)
        for key in keys:
            page.keyboard.press(key)
            time.sleep(0.5)
        page.mouse.move(420 if not options else 180, 400)
        time.sleep(2)
        page.screenshot(path=path, type="jpeg", quality=85)
        page.close()
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        scene, class_map, polygons = make_scene(folder)
        cells = make_fluorescence(folder)
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("FIT_CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        layers = [make_heat_map(folder), class_map, polygons]
        take(browser, options.out / "view-layers.jpg", [scene, *layers], ["[", "["])
        take(browser, options.out / "view-channels.jpg", cells, ["+", "+", "+"])
        take(
            browser, options.out / "view-side-by-side.jpg", [scene, class_map, polygons], ["+", "+"], side_by_side=True
        )
        browser.close()


if __name__ == "__main__":
    main()
