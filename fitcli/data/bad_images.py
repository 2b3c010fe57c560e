"""Counts the unusable images that a run meets, for reports and against a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from fitcli.errors import DataError, FitError, ImageError

T = TypeVar("T")


class TooManyBadImages(DataError):
    """More images are unusable than the run allows."""


@dataclass(frozen=True, slots=True)
class BadImage:
    """An unusable image.

    Attributes:
        path: File of the image.
        error: Why it is unusable.
    """

    path: Path
    error: FitError


@dataclass(slots=True)
class BadImages:
    """Counts the unusable images of a run over all its processes; an image counts once. Not thread-safe.

    Attributes:
        allowed: Number of unusable images that the run leaves out before it ends.
    """

    allowed: int = 0
    _seen: dict[Path, BadImage] = field(default_factory=dict)
    _reported: int = 0
    _sent: set[Path] = field(default_factory=set)

    def add(self, images: Iterable[BadImage]) -> None:
        """Count images.

        Raises:
            TooManyBadImages: There are more than allowed.
        """
        for bad in images:
            self._seen.setdefault(bad.path, bad)
            if len(self._seen) > self.allowed:
                others = f" (after {self.allowed} others)" if self.allowed else ""
                raise TooManyBadImages(
                    f"{bad.error}{others}; or train without such images, with --max-bad-images {self.allowed + 1}"
                )

    def take_unsent(self) -> list[tuple[str, str]]:
        """Return path and reason of the images that this process counted since the last call, for `receive`."""
        new = [bad for path, bad in self._seen.items() if path not in self._sent]
        self._sent.update(bad.path for bad in new)
        return [(str(bad.path), str(bad.error)) for bad in new]

    def receive(self, images: Iterable[tuple[str, str]]) -> None:
        """Count the images that `take_unsent` returned in another process.

        Raises:
            TooManyBadImages: There are more than allowed.
        """
        new = [BadImage(Path(path), FitError(reason)) for path, reason in images]
        self._sent.update(bad.path for bad in new)
        self.add(new)

    def restore(self, images: Iterable[BadImage]) -> None:
        """Count images that the run met and reported before it was resumed. Raises nothing."""
        self._seen.update({bad.path: bad for bad in images})
        self._reported = len(self._seen)
        self._sent = set(self._seen)

    def take_pending(self) -> list[BadImage]:
        """Return the images that were counted since the last call, for a report."""
        new = list(self._seen.values())[self._reported :]
        self._reported = len(self._seen)
        return new


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """The outcome of `first_good`.

    Attributes:
        result: Result of the first file that could be read; None if none could.
        failed: Unusable images that were tried before it.
    """

    result: T | None
    failed: tuple[BadImage, ...]


def first_good(read: Callable[[Path], T], paths: Iterable[Path], allowed: int) -> Attempt[T]:
    """Read the first file that can be read; give up when more than `allowed` cannot."""
    failed: list[BadImage] = []
    for path in paths:
        try:
            return Attempt(read(path), tuple(failed))
        except (ImageError, DataError) as error:
            failed.append(BadImage(path, error))
            if len(failed) > allowed:
                break
    return Attempt(None, tuple(failed))
