"""Settings of a generated image, and the limits within which it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fitcli.errors import FitError
from fitcli.noise import LARGEST
from fitcli.tasks.diffusion.generate_options import SamplingOptions

LONGEST_SIDE = 2**20
"""Largest side of a generated image, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationSettings(SamplingOptions):
    """Everything that the pixels depend on besides the model and an initial image.

    Attributes:
        size: (height, width), in pixels.
        label: Name of a class; None for none.
        seed: Seed of all noise, in 0 ... 2**64 - 1.

    Raises:
        FitError: A setting is impossible.
    """

    size: tuple[int, int]
    label: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        SamplingOptions.__post_init__(self)
        if not all(1 <= side <= LONGEST_SIDE for side in self.size):
            raise FitError(
                f"an image of {self.size[0]} x {self.size[1]} pixels is impossible; give 1 to {LONGEST_SIDE} per side"
            )
        if not 0 <= self.seed <= LARGEST:
            raise FitError(f"--seed {self.seed}: must lie in 0 ... 2**64 - 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceLimits:
    """Limits and files of a generation. The pixels do not depend on them, except for rounding.

    Attributes:
        memory_bytes: Memory limit; None for a share of the free memory.
        state: Folder for the state, so that another process can continue the job; None to keep no state.
        preview: File for a small picture of the progress; None for no preview.
    """

    memory_bytes: int | None = None
    state: Path | None = None
    preview: Path | None = None
