"""Measures how many training images the loader feeds, by format and number of threads, against what a step takes.

    python -m benchmarks.speed.readers [--size PIXELS] [--threads N ...] [--presets NAME ...] [--out FILE.json]

All rounds of all numbers of threads are interleaved. Ratios compare neighbouring rounds, so that other jobs on the
machine disturb both alike. CPU seconds per image say what any number of cores can feed at most.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.support.classifier_job import classifier_job
from benchmarks.support.image_sources import slide_window
from benchmarks.support.machine import save_results
from fitcli.data.dataset import Sample
from fitcli.data.loader import Loader
from fitcli.data.place import Layout, PlaceRules
from fitcli.data.read_item import Reading
from fitcli.device.runtime import choose_runtime
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training, estimate_step
from fitcli.patches.preprocessing import Preprocessing
from fitcli.process.limits import available_cores
from fitcli.tasks.class_targets import ClassLabelReader
from fitcli.tasks.classify.task import TASK as CLASSIFY
from models.presets import classifier_preset

READING = Reading(
    layout=Layout(patch=16, group=16),
    rules=PlaceRules(),
    preprocessing=Preprocessing(channels=3, dtype="uint8", mean=(128.0,) * 3, std=(64.0,) * 3),
    targets=ClassLabelReader(),
)


def write_images(folder: Path, size: int) -> dict[str, Path]:
    """Write one slide-like image in several formats; return the paths by name of the format."""
    import tifffile

    pixels = slide_window(0, size)
    paths = {name: folder / f"{name.replace(' ', '-')}.{name.split()[-1]}" for name in ("jpg", "png")}
    Image.fromarray(pixels).save(paths["jpg"], quality=90)
    Image.fromarray(pixels).save(paths["png"], compress_level=3)
    for compression in ("jpeg", "zlib"):
        path = paths[f"{compression} tif"] = folder / f"{compression}.tif"
        tifffile.imwrite(path, pixels, tile=(256, 256), compression=compression, photometric="rgb")
    return paths


def feed(path: Path, threads: int, images: int) -> tuple[float, float]:
    """Return the wall and CPU seconds per image of reading one file again and again, in batches of one image."""
    loader = Loader([Sample(path, 0)], READING, batch_size=1, threads=threads)
    wall, cpu = time.perf_counter(), time.process_time()
    with closing(loader.batches(0, images)) as batches:
        for _ in batches:
            pass
    return (time.perf_counter() - wall) / images, (time.process_time() - cpu) / images


def measure_format(path: Path, threads: list[int], images: int, repeats: int) -> dict[str, Any]:
    """Return what each number of threads feeds, and its ratio to the first."""
    rounds = [[feed(path, count, images) for count in threads] for _ in range(repeats)]
    return {
        "cpu_seconds": min(cpu for each in rounds for _, cpu in each),
        "images_per_second": [statistics.median(1 / each[k][0] for each in rounds) for k in range(len(threads))],
        "ratio": [statistics.median(each[0][0] / each[k][0] for each in rounds) for k in range(len(threads))],
    }


def measure_step(preset: str, size: int, assumed_flops: float) -> dict[str, float]:
    """Return the CPU seconds of a step over one image here, and its seconds on a device of assumed speed."""
    step, _, groups = classifier_job(preset, size, choose_runtime("cpu", "fp32"), ExecutionPlan())
    step()
    began = time.process_time()
    step()
    work = Training(task=CLASSIFY, config=classifier_preset(preset, 3, 100), groups=len(groups.number))
    flops = estimate_step(work, ExecutionPlan()).total_flops
    return {"cpu_seconds": time.process_time() - began, "flops": flops, "device_seconds": flops / assumed_flops}


def lines(results: dict[str, Any], threads: list[int]) -> Iterator[str]:
    counts = "".join(f"{f'{count} threads':>12}" for count in threads)
    yield f"{'':10} {'CPU ms':>8}{counts}   images/s (ratio)"
    for name, row in results["formats"].items():
        fed = zip(row["images_per_second"], row["ratio"], strict=True)
        yield f"{name:10} {row['cpu_seconds'] * 1e3:8.0f}" + "".join(f"{f'{n:.1f} ({r:.2f})':>12}" for n, r in fed)
    for preset, row in results["steps"].items():
        needs = ", ".join(
            f"{name} {each['cpu_seconds'] / row['device_seconds']:.1f}" for name, each in results["formats"].items()
        )
        yield (
            f"{preset}: a step takes {row['cpu_seconds']:.2f} CPU s here, {row['device_seconds'] * 1e3:.1f} ms on the "
            f"assumed device, which {needs} cores feed"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="side of the images in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[2, max(4, available_cores())])
    parser.add_argument("--presets", nargs="+", default=["tiny"])
    parser.add_argument("--images", type=int, default=16, help="images of a round")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flops", type=float, default=150e12, help="operations per second of the assumed device")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        formats = {
            name: measure_format(path, options.threads, options.images, options.repeats)
            for name, path in write_images(Path(folder), options.size).items()
        }
    steps = {preset: measure_step(preset, options.size, options.flops) for preset in options.presets}
    results = {"threads": options.threads, "assumed_flops": options.flops, "formats": formats, "steps": steps}
    print("\n".join(lines(results, options.threads)))
    save_results(options.out, ["torch", "pillow", "tifffile", "imagecodecs"], results)


if __name__ == "__main__":
    main()
