"""What is to be generated, and how. Plain data."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from fitcli.errors import FitError
from fitcli.noise import LARGEST

LONGEST_SIDE = 2**20
"""Pixels per side that are believed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationSettings:
    """What the pixels depend on, beside the model and an image to begin with.

    Attributes:
        size: (height, width) in pixels.
        label: Name of a class; None for none.
        steps: Evaluations of the network; a stage that begins at an intermediate time takes its share of them.
        sampler: One of `samplers.STEPS`.
        guidance: Weight of what the label adds; 0 without.
        seed: Of all noise.
        strength: Time in (0, 1] to which an enlarged image is noised before it is denoised at the next size: 1 keeps
            nothing of it.
        one_pass: Generate at the full size at once instead of coarse to fine.
        shift_grid: Shift the groups by half a group in every other step.

    Raises:
        FitError: A setting that makes no sense.
    """

    size: tuple[int, int]
    label: str | None = None
    steps: int = 50
    sampler: str = "ddim"
    guidance: float = 0.0
    seed: int = 0
    strength: float = 0.5
    one_pass: bool = False
    shift_grid: bool = False

    def __post_init__(self) -> None:
        if not all(1 <= side <= LONGEST_SIDE for side in self.size):
            raise FitError(f"no image is {self.size[0]} x {self.size[1]} pixels; give 1 to {LONGEST_SIDE} per side")
        if self.steps < 1:
            raise FitError(f"--steps {self.steps}: sampling takes at least 1 step")
        if not 0 < self.strength <= 1:
            raise FitError(f"--strength {self.strength}: must lie above 0 and not above 1")
        if not 0 <= self.guidance < math.inf:
            raise FitError(f"--guidance {self.guidance}: must not be negative")
        if not 0 <= self.seed <= LARGEST:
            raise FitError(f"--seed {self.seed}: must lie in 0 ... 2**64 - 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceLimits:
    """Within what bounds, and who is told. The pixels do not depend on it, but for rounding.

    Attributes:
        memory_bytes: May be used; None for a share of what is free.
        state: Folder to keep the state in, so that it can go on after the process was killed.
        preview: File for a small picture of how far it is.
    """

    memory_bytes: int | None = None
    state: Path | None = None
    preview: Path | None = None


TASK_OF_OPTION = {
    **dict.fromkeys(
        ("steps", "sampler", "guidance", "window", "strength", "one_pass", "shift_grid", "preview"), "diffusion"
    ),
    **dict.fromkeys(("memory", "state", "precision", "compile"), "diffusion"),
    **dict.fromkeys(("temperature", "top_k", "top_p", "cuda_graphs"), "autoregressive"),
}
"""The task of the models that an option is for, where it is not for all."""


def check_options(task: str, given: Collection[str]) -> None:
    """Refuse options that models of a task have no use for: whoever gives one expects it to matter.

    Args:
        task: Of the model.
        given: Which options the user gave, by their names in Python.

    Raises:
        FitError: One of them belongs to another task.
    """
    for name, wanted in TASK_OF_OPTION.items():
        if name in given and wanted != task:
            raise FitError(f"--{name.replace('_', '-')} is for runs of --task {wanted}, not of {task}; leave it out")


def choose_sides(res: int | None, height: int | None, width: int | None) -> tuple[int | None, int | None]:
    """(height, width) that the options of the command line ask for, None where they do not say.

    Raises:
        FitError: The options contradict each other.
    """
    if res is not None and (height is not None or width is not None):
        raise FitError("--res is height and width in one; give either --res, or --height and --width")
    return (res, res) if res is not None else (height, width)


def choose_size(
    res: int | None, height: int | None, width: int | None, trained: tuple[int, int], enlarging: bool, repainting: bool
) -> tuple[int, int]:
    """(height, width) that the options of the command line ask for.

    Args:
        res, height, width: As given.
        trained: (height, width) that the model was trained at.
        enlarging: There is an image to begin with.
        repainting: There is a window.

    Raises:
        FitError: The options contradict each other.
    """
    given = any(side is not None for side in (res, height, width))
    if repainting and not enlarging:
        raise FitError("--window is of an image: give --image FILE too")
    if repainting and given:
        raise FitError("--window repaints a part of an image of its own size; leave out --res, --height and --width")
    height, width = choose_sides(res, height, width)
    if (height is None) != (width is None):
        raise FitError("--height and --width belong together; give both, or --res")
    if enlarging and not repainting and not given:
        raise FitError("--image: give --res to enlarge it, or --window to repaint a part of it")
    return trained if height is None or width is None else (height, width)
