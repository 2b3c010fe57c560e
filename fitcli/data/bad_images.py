"""Images that turn out to be unusable while a run is under way: told, counted, and too many of them end the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from fitcli.errors import DataError, FitError, ImageError

T = TypeVar("T")


class TooManyBadImages(DataError):
    """More images cannot be used than the run puts up with."""


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image that cannot be used, and why."""

    path: Path
    error: FitError


@dataclass(slots=True)
class BadImages:
    """Those of a run, met by any of its processes; an image counts once. Used by one thread.

    Attributes:
        most: That are put up with.
    """

    most: int = 0
    _seen: dict[Path, BadImage] = field(default_factory=dict)
    _told: int = 0
    _shared: set[Path] = field(default_factory=set)

    def add(self, found: Iterable[BadImage]) -> None:
        """Count images.

        Raises:
            TooManyBadImages: One of them is one too many.
        """
        for bad in found:
            self._seen.setdefault(bad.path, bad)
            if len(self._seen) > self.most:
                others = f" (after {self.most} others)" if self.most else ""
                raise TooManyBadImages(
                    f"{bad.error}{others}; or train without such images, with --max-bad-images {self.most + 1}"
                )

    def fresh(self) -> list[tuple[str, str]]:
        """Path and reason of those that were counted since the last call, by this process: for the others to learn."""
        new = [bad for path, bad in self._seen.items() if path not in self._shared]
        self._shared.update(bad.path for bad in new)
        return [(str(bad.path), str(bad.error)) for bad in new]

    def learn(self, found: Iterable[tuple[str, str]]) -> None:
        """Count what another process has met.

        Raises:
            TooManyBadImages: One of them is one too many.
        """
        new = [BadImage(Path(path), FitError(reason)) for path, reason in found]
        self._shared.update(bad.path for bad in new)
        self.add(new)

    def remember(self, told: Iterable[BadImage]) -> None:
        """Count images that a process before this one has met and told."""
        self._seen.update({bad.path: bad for bad in told})
        self._told = len(self._seen)
        self._shared = set(self._seen)

    def untold(self) -> list[BadImage]:
        """Those that were counted since the last call."""
        new = list(self._seen.values())[self._told :]
        self._told = len(self._seen)
        return new


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """What reading gave: None where all failed, and what failed before."""

    result: T | None
    failed: tuple[BadImage, ...]


def first_good(read: Callable[[Path], T], paths: Iterable[Path], most: int) -> Attempt[T]:
    """Read the first of some images that can be read, and give up after `most` + 1 that cannot."""
    failed: list[BadImage] = []
    for path in paths:
        try:
            return Attempt(read(path), tuple(failed))
        except (ImageError, DataError) as error:
            failed.append(BadImage(path, error))
            if len(failed) > most:
                break
    return Attempt(None, tuple(failed))
