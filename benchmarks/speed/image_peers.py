"""Compares the reading of windows at random places with that of other libraries, as far as they are installed.

    python -m benchmarks.speed.image_peers [--size 10000] [--windows 60] [--rounds 5] [--out FILE.json]

Files: a pyramid in JPEG, a cloud-optimised GeoTIFF in deflate that GDAL writes, and OME-Zarr in zstd. Peers: GDAL by
rasterio, OpenSlide, tifffile with zarr, zarr-python and tensorstore. Every library reads the same windows of 1024 x
1024 pixels; rounds are interleaved, on one core, and each opens the files anew and reads other windows. GDAL's cache of
blocks, by default 5 % of the memory of the machine, is bounded to 16 MiB, twice a window: the images would fit into it.
Figures are windows per CPU second, and the ratio of fit's to each peer's within a round (the median, least and
largest). Some windows are compared with fit's: equal, or for JPEG within 8 levels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.image_sources import WINDOW, slide_window, windows, write_image
from benchmarks.support.machine import save_results
from benchmarks.support.processes import timed
from fitcli.images.open import open_image
from fitcli.images.window import Window

Read = Callable[[Window], Any]
"""Returns the pixels [height width 3] of a window."""

Opener = Callable[[Path, ExitStack], Read]
"""Opens a file until the stack closes."""

PACKAGES = ("numpy", "imagecodecs", "tifffile", "zarr", "rasterio", "openslide-python", "tensorstore")
GDAL_CACHE = 16 << 20
"""Bytes of GDAL's cache of blocks."""

JPEG_TOLERANCE = 8
"""Largest difference of a sample between two decoders of JPEG, which enlarge the colours by other rules."""


def fit(path: Path, stack: ExitStack) -> Read:
    return stack.enter_context(open_image(path)).read


def gdal(path: Path, stack: ExitStack) -> Read:
    import rasterio
    from rasterio.windows import Window as Part

    stack.enter_context(rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE))
    file = stack.enter_context(rasterio.open(path))
    return lambda at: file.read(window=Part(at.left, at.top, at.width, at.height)).transpose(1, 2, 0)


def openslide(path: Path, stack: ExitStack) -> Read:
    from openslide import OpenSlide  # type: ignore[import-not-found]  # an optional peer

    slide = stack.enter_context(OpenSlide(path))
    return lambda at: np.asarray(slide.read_region((at.left, at.top), 0, (at.width, at.height)))[..., :3]


def tifffile_zarr(path: Path, stack: ExitStack) -> Read:
    import tifffile
    import zarr

    group: Any = zarr.open(tifffile.imread(path, aszarr=True, level=0), mode="r")
    return lambda at: group[at.slices()]


def zarr_python(path: Path, stack: ExitStack) -> Read:
    import zarr

    array: Any = zarr.open_array(path / "0", mode="r")
    return lambda at: array[(slice(None), *at.slices())].transpose(1, 2, 0)


def tensorstore(path: Path, stack: ExitStack) -> Read:
    import tensorstore as store  # type: ignore[import-not-found]  # an optional peer

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "0")}}
    array = store.open(spec).result()
    return lambda at: array[(slice(None), *at.slices())].read().result().transpose(1, 2, 0)


PEERS: dict[str, tuple[str, Opener]] = {
    "GDAL": ("rasterio", gdal),
    "OpenSlide": ("openslide", openslide),
    "tifffile + zarr": ("tifffile", tifffile_zarr),
    "zarr-python": ("zarr", zarr_python),
    "tensorstore": ("tensorstore", tensorstore),
}
"""Package and reader of each library."""

FILES = {
    "JPEG pyramid": ("jpeg.tif", ("GDAL", "OpenSlide", "tifffile + zarr")),
    "deflate COG": ("cog.tif", ("GDAL", "OpenSlide", "tifffile + zarr")),
    "OME-Zarr zstd": ("zstd.zarr", ("zarr-python", "tensorstore")),
}
"""File and peers of each format."""


def write(name: str, path: Path, size: int) -> None:
    """Write one of FILES."""
    variants = [slide_window(seed) for seed in range(4)]
    if path.name != "cog.tif":
        return write_image(path, size, path.stem, variants)
    import rasterio
    from rasterio.shutil import copy
    from rasterio.windows import Window as Part

    plain = path.with_name("plain.tif")
    profile = {"driver": "GTiff", "height": size, "width": size, "count": 3, "dtype": "uint8", "tiled": True}
    with rasterio.open(plain, "w", photometric="RGB", interleave="pixel", **profile) as file:
        for number, at in enumerate(windows(size)):
            pixels = variants[number % len(variants)][: at.height, : at.width]
            file.write(pixels.transpose(2, 0, 1), window=Part(at.left, at.top, at.width, at.height))
    copy(plain, path, driver="COG", compress="DEFLATE", predictor="YES", blocksize=512)


def random_windows(size: int, count: int, seed: int) -> list[Window]:
    random = np.random.default_rng(seed)
    places = random.integers(0, size - WINDOW, (count, 2)).tolist()
    return [Window(top, left, WINDOW, WINDOW) for top, left in places]


def compare(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the windows per CPU second of each library, and fit's ratios."""
    file, peers = FILES[name]
    write(name, folder / file, options.size)
    present = [peer for peer in peers if find_spec(PEERS[peer][0])]
    openers = {"fit": fit, **{peer: PEERS[peer][1] for peer in present}}
    check(name, folder / file, openers, random_windows(options.size, 4, 0))
    rounds = []
    for number in range(options.rounds):
        chosen = random_windows(options.size, options.windows, number)
        rounds.append(
            {peer: timed(partial(read_all, opener, folder / file, chosen))[0] for peer, opener in openers.items()}
        )
    speeds = {peer: options.windows / statistics.median(each[peer] for each in rounds) for peer in openers}
    ratios = {peer: sorted(each[peer] / each["fit"] for each in rounds) for peer in present}
    return {"name": name, "windows_per_cpu_second": speeds, "ratios": ratios}


def read_all(opener: Opener, path: Path, chosen: list[Window]) -> None:
    """Open a file and read windows of it. Nothing of the pixels is kept."""
    with ExitStack() as stack:
        read = opener(path, stack)
        for at in chosen:
            read(at)


def check(name: str, path: Path, openers: dict[str, Opener], chosen: list[Window]) -> None:
    """Check that all libraries return the same pixels."""
    with open_image(path) as image:
        expected = [image.read(at).astype(int) for at in chosen]
    for peer, opener in openers.items():
        with ExitStack() as stack:
            read = opener(path, stack)
            difference = max(int(np.abs(pixels - read(at)).max()) for at, pixels in zip(chosen, expected, strict=True))
            assert difference <= (JPEG_TOLERANCE if "JPEG" in name else 0), f"{name}: {peer} differs by {difference}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000, help="side of the images in pixels")
    parser.add_argument("--windows", type=int, default=60, help="windows per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="folder for the images; a temporary one by default")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for name in FILES:
        with tempfile.TemporaryDirectory(dir=options.data) as folder:
            rows.append(compare(name, Path(folder), options))
        for reader, speed in rows[-1]["windows_per_cpu_second"].items():
            low, high = (ratios := rows[-1]["ratios"].get(reader, [1.0]))[0], ratios[-1]
            print(
                f"{name:14} {reader:16} {speed:7.1f} {statistics.median(ratios):6.2f} [{low:.2f}-{high:.2f}]",
                flush=True,
            )
    save_results(options.out, PACKAGES, {"size": options.size, "files": rows})


if __name__ == "__main__":
    main()
