"""Measures `fit view`: the first view, the CPU time of a tile, memory, and a million objects.

    python -m benchmarks.speed.viewing [--work FOLDER] [--side 20000] [--objects 1000000] [--browser] [--out FILE.json]

Makes a JPEG TIFF and a GeoJSON file in FOLDER unless they are there. A server is a process of its own, as a user starts
it; the first view are the tiles of a window of 1280 x 800 pixels over six connections, as browsers ask for them. With
`--browser` Chromium shows the page (Playwright), moves over the objects, and reports its longest task.

Goals: first view within 1 s of the start of the server, a median tile of at most 15 ms of CPU, at most 300 MB; first
view of 10^6 objects within 5 s, no task above 100 ms in moving.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.image_sources import slide_window, write_image
from benchmarks.support.machine import save_results
from fitcli.view.answers import Answers
from fitcli.view.scene import ViewScene
from fitcli.view.tile_grid import TILE, TileGrid

WINDOW = (800, 1280)
"""Height and width of the window of the browser."""

CONNECTIONS = 6

TILES = 300
"""Tiles whose CPU time is measured."""

NAMES = ("tumor", "stroma", "immune")


def make_files(work: Path, side: int, objects: int) -> tuple[Path, Path]:
    """Write the image and the objects, unless they are there; return their paths."""
    image, shapes = work / f"slide-{side}.tif", work / f"objects-{objects}.geojson"
    if not image.exists():
        write_image(image, side, "jpeg", [slide_window(seed) for seed in range(4)])
    if not shapes.exists():
        random = np.random.default_rng(0)
        middles = random.uniform(20, side - 20, (objects, 2)).round(1)
        turn = np.linspace(0, 2 * np.pi, 9)
        ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        with shapes.open("w") as file:
            file.write('{"type":"FeatureCollection","features":[\n')
            for number, middle in enumerate(middles):
                points = (middle + 6 * ring).round(1).tolist()
                properties = {"objectType": "detection", "classification": {"name": NAMES[number % 3]}}
                geometry = {"type": "Polygon", "coordinates": [points]}
                feature = {"type": "Feature", "properties": properties, "geometry": geometry}
                file.write(f"{',' if number else ''}{json.dumps(feature)}\n")
            file.write("]}")
    return image, shapes


@contextmanager
def serving(*paths: Path) -> Iterator[tuple[subprocess.Popen[str], str, float]]:
    """Start `fit view` as a user does; yield the process, the address and the seconds until it was printed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "fitcli", "view", *map(str, paths), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip(), time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def first_tiles(grid: TileGrid) -> list[str]:
    """Return the level and places of the tiles of the whole image in the window, with those of the lowest level."""
    zoom = min(WINDOW[0] / grid.height, WINDOW[1] / grid.width)
    level = max(grid.lowest, grid.top - int(np.floor(np.log2(1 / zoom))))
    return [
        f"{each}/{column}_{row}"
        for each in sorted({grid.lowest, level})
        for row in range(int(np.ceil(grid.height / (TILE * grid.step(each)))))
        for column in range(int(np.ceil(grid.width / (TILE * grid.step(each)))))
    ]


def fetch_all(url: str, names: list[str]) -> int:
    """Fetch addresses over several connections; return the bytes."""

    def fetch(name: str) -> int:
        with urllib.request.urlopen(url + name) as answer:
            return len(answer.read())

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(fetch, names))


def peak_bytes(process: subprocess.Popen[str]) -> int:
    """Return the largest resident memory of a process so far (Linux)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    return 0


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """Return the CPU time of a process since its start (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_view(image: Path, grid: TileGrid) -> dict[str, float]:
    """Measure the first view of an image, and the memory after many tiles."""
    with serving(image) as (process, url, start):
        began = time.perf_counter()
        fetch_all(url, ["", "view.js", "openseadragon.js", "scene.json"])
        fetch_all(url, [f"tile/0/{name}" for name in first_tiles(grid)])
        seconds = time.perf_counter() - began
        fetch_all(url, [f"tile/0/{name}" for name in random_tiles(grid, 2 * TILES)])
        return {"start_seconds": start, "first_view_seconds": seconds, "peak_bytes": peak_bytes(process)}


def random_tiles(grid: TileGrid, count: int) -> list[str]:
    """Return tiles of all levels but the lowest, most of them of the large ones, as somebody sees who zooms in."""
    random, names = np.random.default_rng(1), []
    for number in range(count):
        level = int(random.integers(grid.lowest + 1, grid.top + 1)) if number % 2 else grid.top
        side = TILE * grid.step(level)
        column, row = (int(random.integers(0, int(np.ceil(length / side)))) for length in (grid.width, grid.height))
        names.append(f"{level}/{column}_{row}")
    return names


def tile_milliseconds(image: Path) -> float:
    """Return the median CPU time of a tile, all threads of the process counted."""
    seconds = []
    with ViewScene([image]) as scene:
        answers = Answers(scene)
        grid = scene.shown[0].grid
        for name in random_tiles(grid, TILES):
            began = time.process_time()
            answers.get(f"tile/0/{name}")
            seconds.append(time.process_time() - began)
    return 1000 * statistics.median(seconds)


def many_objects(image: Path, shapes: Path, grid: TileGrid) -> dict[str, float]:
    """Measure the first view of an image with the first part of many objects, and that of all of them."""
    with serving(image, shapes) as (process, url, start):
        began = time.perf_counter()
        fetch_all(url, [f"tile/0/{name}" for name in first_tiles(grid)])
        image_seconds = time.perf_counter() - began
        first = wait_for(url, lambda layer: "count" in layer)
        fetch_all(url, [f"tile/1/{name}" for name in first_tiles(grid)])
        first_view_seconds = time.perf_counter() - began
        wait_for(url, lambda layer: layer["state"] == "ready")
        read_seconds, read_cpu_seconds = time.perf_counter() - began, cpu_seconds(process)
        size = fetch_all(url, [f"tile/1/{name}" for name in first_tiles(grid)])
        return {
            "start_seconds": start,
            "image_seconds": image_seconds,
            "first_view_seconds": first_view_seconds,
            "first_view_objects": first["count"],
            "read_seconds": read_seconds,
            "read_cpu_seconds": read_cpu_seconds,
            "whole_view_seconds": time.perf_counter() - began,
            "tile_bytes": size,
            "peak_bytes": peak_bytes(process),
        }


def wait_for(url: str, is_there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until a test holds for what the server says about the layer, and return that."""
    while True:
        with urllib.request.urlopen(url + "layer/1") as answer:
            layer: dict[str, Any] = json.load(answer)
        if layer["state"] == "error":
            raise RuntimeError(layer["error"])
        if is_there(layer):
            return layer
        time.sleep(0.05)


OBSERVE = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => { for (const each of list.getEntries()) window.tasks.push(each.duration); })
    .observe({ type: "longtask" });
}"""


def in_browser(image: Path, shapes: Path) -> dict[str, float]:
    """Show the page in Chromium, move over the objects at two zooms, and return the longest task."""
    from playwright.sync_api import sync_playwright

    with serving(image, shapes) as (_, url, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("FIT_CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WINDOW[1], "height": WINDOW[0]})
        began = time.perf_counter()
        page.goto(url)
        while not page.evaluate("fitView.ready && fitView.panes[0].viewer.world.getItemAt(0)?.getFullyLoaded()"):
            time.sleep(0.02)
        loaded = time.perf_counter() - began
        while not page.evaluate("[...fitView.panes[0].layers[0].tiles?.values() ?? []].some((tile) => tile.canvas)"):
            time.sleep(0.02)
        seen = time.perf_counter() - began
        while not page.evaluate("fitView.panes[0].layers[0].state == 'ready'"):
            time.sleep(0.1)
        ready = time.perf_counter() - began
        time.sleep(2)
        page.evaluate(OBSERVE)
        tasks = {}
        for zooms in (0, 3, 6):
            for _ in range(zooms and 3):
                page.keyboard.press("+")
            time.sleep(2)
            page.evaluate("window.tasks.length = 0")
            for _ in range(3):
                page.mouse.move(700, 400)
                page.mouse.down()
                page.mouse.move(300, 250, steps=25)
                page.mouse.up()
            time.sleep(1)
            tasks[f"longest_task_ms_after_{zooms}_steps"] = float(page.evaluate("Math.max(0, ...window.tasks)"))
        browser.close()
    return {"image_loaded_seconds": loaded, "objects_seen_seconds": seen, "all_objects_seconds": ready, **tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        image, shapes = make_files(work, options.side, options.objects)
        grid = TileGrid(options.side, options.side)
        results: dict[str, Any] = {"image": first_view(image, grid), "tile_cpu_ms": tile_milliseconds(image)}
        results["objects"] = many_objects(image, shapes, grid)
        if options.browser:
            results["browser"] = in_browser(image, shapes)
    print(json.dumps(results, indent=2))
    save_results(options.out, ["numpy", "tifffile", "imagecodecs"], results)


if __name__ == "__main__":
    main()
