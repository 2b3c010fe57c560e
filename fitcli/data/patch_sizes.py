"""Finds files of features of a data set whose patches have another size than those of most files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from fitcli.files.wording import counted
from fitcli.images.base import ImageInfo
from fitcli.images.patch_size import PatchSize, guessed_difference, patch_size

CANDIDATES = 50
"""Number of sizes, the most common ones, that are compared with all others."""


class UsualPatchSize(NamedTuple):
    """The usual size of the patches of a data set.

    Attributes:
        size: The most common size that files state; if none does, the most common distance of patches.
        misfits: Why files that state another size do not go with the others, by file.
        warnings: At most one line on files that seem to have another size.
    """

    size: PatchSize
    misfits: Mapping[Path, str]
    warnings: tuple[str, ...]


def usual_patch_size(files: Iterable[tuple[Path, ImageInfo]]) -> UsualPatchSize | None:
    """Return the usual size of the patches of files of features; None if no file has a size."""
    sizes = [(path, size) for path, info in files if (size := patch_size(info.features)) is not None]
    if not sizes:
        return None
    counts = Counter(size for _, size in sizes)
    likely = [size for size, _ in counts.most_common() if size.stated] or [size for size, _ in counts.most_common()]
    # Sizes of slides of several scales agree; a size counts the files of all that agree with it.
    usual = max(likely[:CANDIDATES], key=lambda one: sum(counts[other] for other in counts if one.agrees(other)))
    example = next(path for path, size in sizes if size == usual)
    misfits = {
        path: f"{path}: has features of patches of {size}, {example} of {usual}; {size.advice(usual)}"
        for path, size in sizes
        if size.contradicts(usual)
    }
    guessed = [(path, size) for path, size in sizes if path not in misfits and not size.agrees(usual)]
    if not guessed:
        return UsualPatchSize(usual, misfits, ())
    path, size = guessed[0]
    more = f" (and {counted(len(guessed) - 1, 'more file')})" if len(guessed) > 1 else ""
    text = f"{path}{more}: {guessed_difference(size, usual, f'{example} has')}"
    return UsualPatchSize(usual, misfits, (text,))
