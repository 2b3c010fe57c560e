"""Decides which heat maps are written: what they show, and to which files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitcli.data.class_names import number_of_name
from fitcli.errors import FitError
from fitcli.files.names import short_enough
from fitcli.files.output_checks import check_not_replaced, check_output_file, check_output_folder
from fitcli.files.output_names import output_names
from fitcli.runs.targets import Target
from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE
from fitcli.tasks.classify.heatmap import LAYERS
from fitcli.tasks.classify.labels import find_target
from fitcli.tasks.classify.targets.kinds import kind_of

SUFFIXES = (".png", ".jpg", ".jpeg", *LAYERS)
"""Suffixes of heat maps. Any other name is that of a folder."""

EVERY_CLASS = "all"
"""Choice of all classes."""

LETTERS = 40
"""Most letters of the name of a class in the name of a file."""


@dataclass(frozen=True, slots=True)
class HeatmapChoice:
    """What heat maps show.

    Attributes:
        target: Number of the target.
        target_name: Its name if the run has several targets, else None.
        classes: Classes whose contributions are shown, in a picture or a channel each; none for the evidence.
    """

    target: int = 0
    target_name: str | None = None
    classes: tuple[str, ...] = ()


OF_EVIDENCE = HeatmapChoice()
"""The evidence for the first target."""


@dataclass(frozen=True, slots=True)
class HeatmapFile:
    """A heat map that is written.

    Attributes:
        path: The file.
        classes: Classes that it shows, in the order of its channels; none for the evidence.
    """

    path: Path
    classes: tuple[str, ...] = ()

    @property
    def is_layer(self) -> bool:
        """Whether it has the size of the image and stores values."""
        return self.path.suffix.lower() in LAYERS

    def document(self, target: str | None) -> dict[str, Any]:
        """Return what the file is as JSON data.

        Args:
            target: Name of the target; None if there is only one.
        """
        scale = CONTRIBUTION if self.classes else EVIDENCE
        low, high = scale.range
        colors = None if self.is_layer else {"lowest": low, "highest": high, "scale": "log(1 + |value|)"}
        return {
            "path": str(self.path),
            "shows": "contribution" if self.classes else "evidence",
            "target": target,
            "classes": list(self.classes),
            "unit": scale.unit,
            "colors": colors,
        }


def choose_heatmaps(targets: Sequence[Target], target: str | None, name: str | None) -> HeatmapChoice:
    """Return what the heat maps show.

    Args:
        targets: The targets of the run.
        target: Name of a target; None for the first.
        name: Name of a class, or `EVERY_CLASS`; None for the evidence.

    Raises:
        FitError: There is no such target, it has no such class, or it has no classes.
    """
    number = find_target(targets, target)
    classes, called = targets[number].classes, targets[number].name if len(targets) > 1 else None
    if name is not None and not kind_of(targets[number]).names_classes:
        raise FitError(
            f"--heatmap-class {name}: the target {targets[number].name} has no classes; leave it out for its evidence"
        )
    if name is None or name == EVERY_CLASS:
        return HeatmapChoice(number, called, () if name is None else classes)
    if (found := number_of_name(name, classes)) is None:
        owner = "the run" if called is None else f"the target {called}"
        others = " of a target, with --heatmap-target" if called is not None and target is None else ""
        raise FitError(
            f"--heatmap-class {name}: {owner} has {', '.join(classes)}; give one of these, or {EVERY_CLASS}{others}"
        )
    return HeatmapChoice(number, called, (classes[found],))


def plan_heatmaps(
    paths: Sequence[Path], out: Path | None, choice: HeatmapChoice = OF_EVIDENCE
) -> list[tuple[HeatmapFile, ...]]:
    """Return the heat maps of each image. A layer has a channel for each class; pictures are one for each class.

    Args:
        paths: The images.
        out: A file for the heat map of one image, of which pictures of several classes are called `NAME-CLASS`; or a
            folder for `NAME.png`, see `output_names`, or `CLASS/NAME.png`, which is created with the first heat map;
            None for no heat maps.
        choice: Content of the heat maps.

    Raises:
        FitError: `out` is one file for several images, has an unknown suffix, or cannot be written to; or two images of
            one folder have the same name.
    """
    if out is None:
        return [()] * len(paths)
    if out.suffix and out.suffix.lower() not in SUFFIXES and not out.is_dir():
        raise FitError(f"--heatmap {out}: name it {', '.join(SUFFIXES)}, or give a folder, without a suffix")
    names = file_names(choice.classes) if len(choice.classes) > 1 else []
    if out.suffix.lower() in SUFFIXES and not (out.is_dir() and out.suffix.lower() != ".zarr"):
        if len(paths) != 1:
            raise FitError(f"--heatmap {out} is one file for {len(paths)} images; give a folder")
        own = HeatmapFile(out, choice.classes)
        if names and not own.is_layer:
            pictures = [out.with_name(short_enough(f"{out.stem}-{name}{out.suffix}")) for name in names]
            planned = [_one_each(pictures, choice.classes)]
        else:
            planned = [(own,)]
        for each in planned[0]:
            check_output_file("--heatmap", each.path)
    else:
        if out.exists() and not out.is_dir():
            raise FitError(f"--heatmap {out}: is not a folder; give a folder, or a file named {', '.join(SUFFIXES)}")
        files = output_names("--heatmap", out, paths, ".png")
        check_output_folder("--heatmap", out)
        if names:
            planned = [
                _one_each([out / name / file.relative_to(out) for name in names], choice.classes) for file in files
            ]
        else:
            planned = [(HeatmapFile(file, choice.classes),) for file in files]
    check_not_replaced("--heatmap", [each.path for image in planned for each in image], paths)
    return planned


def file_names(classes: Sequence[str]) -> list[str]:
    """Return a name for the files of each class: that of the class, in characters that every file system takes.

    Where an earlier class has the same, ignoring case, the number of the class follows.
    """
    used: set[str] = set()
    names = []
    for number, name in enumerate(classes, start=1):
        free = "".join(letter if letter.isalnum() or letter in "-_+ " else "_" for letter in name).strip()[:LETTERS]
        while not free or free.casefold() in used:
            free = f"{free}-{number}"
        used.add(free.casefold())
        names.append(free)
    return names


def _one_each(paths: Sequence[Path], classes: Sequence[str]) -> tuple[HeatmapFile, ...]:
    return tuple(HeatmapFile(path, (name,)) for path, name in zip(paths, classes, strict=True))
