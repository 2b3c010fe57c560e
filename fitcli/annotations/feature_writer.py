"""Defines what a writer of polygons is. The file appears whole or not at all; one polygon is in memory at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from numpy.typing import NDArray

from fitcli.annotations.placement import Placement
from fitcli.annotations.rings import Polygon
from fitcli.files.write_errors import NO_ROOM
from fitcli.images.publishing import ImagePublication, cannot_write


class NamedClasses(Protocol):
    """The names and colours of classes, by class number."""

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def colors(self) -> Sequence[tuple[int, int, int] | None]: ...


class FeatureWriter(ABC):
    """A file of polygons that is being written.

    Leaving the context normally publishes the file; leaving it with an exception removes what was written. A file that
    stands at the path is replaced; a link there is followed.

    Args:
        path: Path of the finished file.
        table: Names and colours of the classes.
        placement: Coordinates of the file.

    Raises:
        ImageError: The file cannot be written.
    """

    def __init__(self, path: Path, table: NamedClasses, placement: Placement) -> None:
        self.path, self.table, self.placement = path, table, placement
        self._file = ImagePublication(path)
        try:
            self._begin(self._file.path)
        except BaseException as error:
            self._fail(error)

    def write(self, polygons: Iterable[Polygon]) -> None:
        """Add polygons.

        Raises:
            ImageError: The file cannot be written: the disk is full.
        """
        for polygon in polygons:
            rings = [self.placement.ring(ring) for ring in polygon.rings]
            try:
                self._add(polygon, rings)
            except OSError as error:
                raise cannot_write(self.path, error) from error

    @abstractmethod
    def _begin(self, path: Path) -> None:
        """Begin the file."""

    @abstractmethod
    def _add(self, polygon: Polygon, rings: list[NDArray[Any]]) -> None:
        """Add a polygon, whose rings are in the coordinates of the file."""

    @abstractmethod
    def _end(self) -> None:
        """Complete the file and close it."""

    @abstractmethod
    def _release(self) -> None:
        """Close the file as it is. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._discard()
            return
        try:
            self._end()
            self._file.publish()
        except BaseException as failure:
            self._fail(failure)

    def _fail(self, error: BaseException) -> NoReturn:
        self._discard()
        if isinstance(error, OSError):
            raise cannot_write(self.path, error) from error
        raise error

    def _discard(self) -> None:
        try:
            self._release()
        except OSError as error:
            # What a full disk keeps in a buffer is not needed any more.
            if error.errno not in NO_ROOM:
                raise
        finally:
            self._file.discard()
