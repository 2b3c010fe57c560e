"""Makes small data sets, runs that train on them within a second, and observers of such runs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from support.pictures import colored, save

from fitcli.data.batch import Batch
from fitcli.data.loader import Loader
from fitcli.device.runtime import choose_runtime
from fitcli.images.open import open_image
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import DEFAULT_TASK, find_task, train_settings
from fitcli.tasks.task import Objective
from fitcli.training.checkpointing.run_record import load_settings
from fitcli.training.loop import Observer
from fitcli.training.prepare import prepare
from fitcli.training.reports import Report, StepReport
from fitcli.training.start_options import StartOptions

CPU = choose_runtime("cpu", "fp32")


def two_classes(folder: Path, shape: tuple[int, int] = (24, 24), images: int = 5) -> Path:
    """Make a folder of two classes with `images` images each. Of ten images, two are held out to validate."""
    for label, color in (("dark", (60, 80, 70)), ("light", (90, 70, 100))):
        for number in range(images):
            save(folder / label / f"{number}.png", colored(shape, color, number))
    return folder


def run_of(
    data: Path, folder: Path, resume: bool = False, memory: int | None = None, accept: bool = False, **settings: Any
) -> TrainingRun:
    """Prepare a run of two epochs in batches of two images, unless the settings change that. See `data_of`.

    A classifier keeps no average of its weights, so that those that are validated and kept are those that are trained.
    No run writes a page, which takes longer than its steps.
    """
    average = {"ema": 0} if settings.get("task", DEFAULT_TASK) == DEFAULT_TASK else {}
    asked = train_settings(**{"preset": "debug", "batch_size": 2, "epochs": 2, **average, **settings})
    # A run that is resumed has its own task.
    task = load_settings(folder).task if resume and "task" not in settings else asked.task
    launch = StartOptions(
        data=data_of(task, data), folder=folder, runtime=choose_runtime("cpu", asked.precision), resume=resume,
        given=settings, accept_changed_data=accept, memory_bytes=memory, report=False,
    )  # fmt: skip
    return prepare(asked, launch)[0]


def first_batch(run: TrainingRun) -> tuple[Objective, Batch]:
    """Return the objective of a run and its first training batch."""
    objective = find_task(run.config.task).objective(run)
    loader = Loader(run.dataset.train, objective.reading, run.settings.batch_size)
    return objective, next(loader.batches(0, 1))


def quietly(report: Report) -> None:
    """Observe a run without doing anything."""


def at(step: int, act: Callable[[], object]) -> Observer:
    """Return an observer that calls a function after a step."""

    def observe(report: Report) -> None:
        if isinstance(report, StepReport) and report.step == step:
            act()

    return observe


def die() -> None:
    raise SystemError("the machine is gone")


def interrupt() -> None:
    """Interrupt this process, as Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def labelled(folder: Path, shape: tuple[int, int] = (24, 24), images: int = 10, unlabelled: int = 0) -> Path:
    """Make images with label images, see `data_of`, and a CSV file that lists them and some without; return the file.

    Args:
        folder: The data set.
        shape: (height, width) of the images, in pixels.
        images: Number of images with labels. Two of ten validate.
        unlabelled: Number of images of the training without labels.
    """
    lines = ["path,labels,split"]
    for number in range(images + unlabelled):
        pixels, right = colored(shape, (60, 80, 70), number), colored(shape, (140, 120, 150), number)
        pixels[:, shape[1] // 2 :] = right[:, shape[1] // 2 :]
        save(folder / f"images/{number}.png", pixels)
        known = ""
        if number < images:
            known = f"labels/{number}.png"
            save(folder / known, _halves(shape))
        lines.append(f"images/{number}.png,{known},{'val' if number in (1, 6) else 'train'}")
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return folder / "data.csv"


def data_of(task: str, data: Path) -> Path:
    """Return a data set of one folder per class in the form that a task takes.

    For `segment`, each image has a label image of two classes, 0 and 1, with a column in between that has no label. For
    `detect`, each image has a box of the class of its folder.
    """
    if find_task(task).labels == "objects" and data.is_dir():
        return _boxed(data)
    if find_task(task).labels != "files" or not data.is_dir():
        return data
    folder = data.with_name(f"{data.name} with labels")
    if not folder.exists():
        lines = ["path,labels"]
        for path in sorted(each for each in data.glob("*/*") if each.suffix in (".png", ".tif", ".zarr")):
            name = f"{path.parent.name} {path.stem}.png"
            with open_image(path) as image:
                save(folder / name, _halves(image.info.size))
            lines.append(f"../{path.relative_to(data.parent).as_posix()},{name}")
        (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return folder / "data.csv"


def _boxed(data: Path) -> Path:
    lines = ["path,xmin,ymin,xmax,ymax,label"]
    for number, path in enumerate(sorted(p for p in data.glob("*/*") if p.suffix in (".png", ".tif", ".zarr"))):
        left = number % 5
        name = path.relative_to(data.parent).as_posix()
        lines.append(f"{name},{left},{left + 1},{left + 9},{left + 8},{path.parent.name}")
    listing = data.with_name(f"{data.name} boxes.csv")
    if not listing.exists():
        listing.write_text("\n".join(lines) + "\n")
    return listing


def _halves(size: tuple[int, int]) -> np.ndarray[Any, Any]:
    labels = np.zeros((*size, 1), np.uint8)
    labels[:, size[1] // 2 :], labels[:, size[1] // 2] = 1, 255
    return labels
