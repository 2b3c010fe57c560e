"""Does something with the labels of each image, and counts those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from fitcli.errors import DataError, ImageError

S = TypeVar("S")
T = TypeVar("T")

NAMED = 5
"""Number of items to name."""

ADVICE = "give the classes with --classes, as in 0=background,1=tumor"
"""Advice on classes, for messages."""

Labelled = tuple[Path, Path]
"""An image and its labels."""

Found = list[tuple[Labelled, T]]
"""Results for images with labels."""


def try_all(do: Callable[[S], T], samples: Sequence[S], most_bad: int) -> list[tuple[S, T]]:
    """Return what a function returns for each usable sample.

    Raises:
        DataError: More than `most_bad` samples are unusable, or all.
    """

    def attempt(sample: S) -> T | ImageError | DataError:
        try:
            return do(sample)
        except (ImageError, DataError) as error:
            return error

    with ThreadPoolExecutor(4, "labels") as pool:
        results = list(zip(samples, pool.map(attempt, samples), strict=True))
    bad = [result for _, result in results if isinstance(result, ImageError | DataError)]
    if len(bad) > min(most_bad, len(results) - 1):
        others = f"{len(bad) - 1} more image{'' if len(bad) == 2 else 's'}"
        more = f" (and {others} whose labels cannot be used)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}")
    return [(sample, result) for sample, result in results if not isinstance(result, ImageError | DataError)]
