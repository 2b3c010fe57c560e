"""Compares the speed of reading and writing images with bare codecs, and measures peak memory in fresh processes.

    python -m benchmarks.speed.images [--size 20000] [--write-size 8192] [--out FILE.json] [--data FOLDER]

Reading: aligned 1024 x 1024 windows through `open_image`, against a loop over the same chunks that only reads the bytes
and calls the codec. Writing: a whole pyramid through `create_image`, against a loop that only encodes the chunks of all
its levels with the same codec.
Ratios are medians over interleaved repetitions. CPU time is that of the whole process: other jobs on the machine
disturb it less than wall time. Each comparison runs in its own process on one core: two threads that share a core use
more CPU time for the same work, and the bare loops have one thread.
Memory: peak resident size (VmHWM) over that of a bare interpreter, of a process that reads all windows of an image of
`--size`, or writes one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.image_sources import CHUNK, SOURCES, make_source, slide_window, windows, write_image
from benchmarks.support.machine import save_results
from benchmarks.support.processes import resident_bytes, run_python, timed

MODULE = "benchmarks.speed.images"

PASSED = ("size", "write_size", "windows", "repeats")
"""Options that the child processes get too."""

PACKAGES = ("numpy", "imagecodecs", "tifffile", "zarr", "numcodecs", "pillow")
WRITTEN = {
    "TIFF JPEG": ("jpeg.tif", "jpeg"),
    "TIFF deflate": ("deflate.tif", "deflate"),
    "TIFF zstd": ("zstd.tif", "zstd"),
    "OME-TIFF JPEG": ("jpeg.ome.tif", "jpeg"),
    "OME-Zarr zstd": ("zstd.zarr", "zstd"),
}
"""File name and compression of each written image."""


def compare(ours: Callable[[], object], bare: Callable[[], object], repeats: int, megabytes: float) -> dict[str, Any]:
    """Time both in turn, after an unmeasured round; ratios are bare / ours."""
    ours(), bare()
    rounds = [(timed(ours), timed(bare)) for _ in range(repeats)]
    cpu, clock = ([b[k] / o[k] for o, b in rounds] for k in (0, 1))
    return {
        "ratio_cpu": statistics.median(cpu),
        "ratio_cpu_range": [min(cpu), max(cpu)],
        "ratio_wall": statistics.median(clock),
        "megabytes_per_cpu_second": megabytes / statistics.median(o[0] for o, _ in rounds),
        "megabytes_per_second": megabytes / statistics.median(o[1] for o, _ in rounds),
        "bare_megabytes_per_cpu_second": megabytes / statistics.median(b[0] for _, b in rounds),
    }


def measure_reading(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the reading of one of SOURCES."""
    from fitcli.images.open import open_image

    size, source = options.size, make_source(name, folder, options.size)
    chosen = list(windows(size, options.windows))

    def bare() -> None:
        open_files = {file: os.open(file, os.O_RDONLY) for file in {place[0] for place in needed}}
        for file, offset, count in needed:
            source.decode(os.pread(open_files[file], count, offset))
        for descriptor in open_files.values():
            os.close(descriptor)

    def ours() -> None:
        with open_image(source.path) as image:
            for window in chosen:
                image.read(window)

    needed = [source.places[key] for window in chosen for key in window.chunks(CHUNK, CHUNK)]
    megabytes = sum(window.area for window in chosen) * 3 / 1e6
    speed = compare(ours, bare, options.repeats, megabytes)
    return {"name": name, **speed, "peak_megabytes": measure_memory("read", source.path, size)}


def measure_writing(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the writing of one of WRITTEN."""
    from fitcli.images.chunk_encoding import tiff_encoder, zarr_encoder
    from fitcli.images.open import open_image
    from fitcli.images.pyramid import pad_edges

    variants = [slide_window(seed) for seed in range(4)]
    file, compression = WRITTEN[name]
    size, path = options.write_size, folder / file
    write_image(path, size, compression, variants)
    encode = zarr_encoder("zstd") if file.endswith(".zarr") else tiff_encoder(compression, 90)  # type: ignore[arg-type]
    chunks = []
    with open_image(path) as image:
        for number, level in enumerate(image.info.levels):
            for window in windows_of_chunks(level.height, level.width):
                pixels = pad_edges(image.read(window, number), CHUNK, CHUNK)
                planar = pixels.transpose(2, 0, 1) if file.endswith(".zarr") else pixels
                chunks.append(np.ascontiguousarray(planar))
    result = compare(
        lambda: write_image(path, size, compression, variants),
        lambda: [encode(chunk) for chunk in chunks],
        options.repeats,
        size * size * 3 / 1e6,
    )
    np.save(folder / "windows.npy", np.stack(variants[:2]))
    return {"name": name, **result, "peak_megabytes": measure_memory("write", path, options.size, compression)}


def windows_of_chunks(height: int, width: int) -> Iterator[Any]:
    from fitcli.images.window import Window

    for row, column in Window(0, 0, height, width).chunks(CHUNK, CHUNK):
        yield Window(row * CHUNK, column * CHUNK, CHUNK, CHUNK).clip(height, width)


def peak(work: str, path: Path, size: int, compression: str) -> None:
    """In a fresh process: read all windows of an image, or write one from two stored windows; print the peak in MB."""
    if work == "read":
        from fitcli.images.open import open_image

        with open_image(path) as image:
            for window in windows(size):
                image.read(window)
    else:
        write_image(path, size, compression, list(np.load(path.with_name("windows.npy"))))
    print(resident_bytes("VmHWM") / 1e6)


def measure_memory(work: str, path: Path, size: int, compression: str = "") -> float:
    """Return the peak of a fresh process in megabytes over a bare interpreter."""
    bare = "from pathlib import Path; print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    floor = int(run_python("-c", bare)) * 1024 / 1e6
    return float(run_python("-m", MODULE, "--peak", work, str(path), str(size), compression)) - floor


WORKS: dict[str, tuple[Iterable[str], Callable[[str, Path, argparse.Namespace], dict[str, Any]]]] = {
    "reading": (SOURCES, measure_reading),
    "writing": (WRITTEN, measure_writing),
}
"""Names to compare and the function that compares one, by kind of work."""


def measure_apart(work: str, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one comparison in its own process: memory left over from earlier ones would change it."""
    passed = [f"--{option.replace('_', '-')}={getattr(options, option)}" for option in PASSED]
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        row: dict[str, Any] = json.loads(run_python("-m", MODULE, *passed, "--compare", work, name, folder))
        return row


def measure_here(work: str, name: str, folder: str, options: argparse.Namespace) -> None:
    """In a fresh process: run one comparison on one core and print its row."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(json.dumps(WORKS[work][1](name, Path(folder), options)))


def show(row: dict[str, Any]) -> dict[str, Any]:
    low, high = row["ratio_cpu_range"]
    print(
        f"{row['name']:20} {row['ratio_cpu']:9.2f} [{low:.2f}-{high:.2f}] {row['ratio_wall']:9.2f} "
        f"{row['megabytes_per_cpu_second']:9.0f} {row['megabytes_per_second']:9.0f} "
        f"{row['bare_megabytes_per_cpu_second']:9.0f} {row['peak_megabytes']:9.0f}",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=int, default=20_000, help="side of the image that is read, and of all images for memory"
    )
    parser.add_argument("--write-size", type=int, default=8192, help="side of the image that is written for speed")
    parser.add_argument("--windows", type=int, default=100, help="windows to read per repetition")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path, help="folder for the images; a temporary one by default")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--compare", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        work, path, size, compression = options.peak
        return peak(work, Path(path), int(size), compression)
    if options.compare:
        work, name, folder = options.compare
        return measure_here(work, name, folder, options)
    print(f"{'':20} {'CPU ratio':>21} {'wall':>9} {'MB/CPU s':>9} {'MB/s':>9} {'bare':>9} {'peak MB':>9}")
    results: dict[str, Any] = {"size": options.size, "write_size": options.write_size}
    for work, (names, _) in WORKS.items():
        results[work] = [show(measure_apart(work, name, options)) for name in names]
    save_results(options.out, PACKAGES, results)


if __name__ == "__main__":
    main()
