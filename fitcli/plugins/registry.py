"""A table of parts by name, to which other packages add theirs: in Python, or as entry points of their distribution.

Only the names of entry points are read at first. A part is imported when its name is used, so a broken package disturbs
nobody else. Only installed distributions are looked at: nothing is loaded from a path or a file that a user gives.
Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from fitcli.errors import FitError

T = TypeVar("T")


class PluginError(FitError):
    """No part has a name, or the package that has it is broken.

    Args:
        message: The fault, with the name of the part.
        fault: The same without the name of the part, for messages that begin with it; None for the message.
    """

    def __init__(self, message: str, fault: str | None = None) -> None:
        super().__init__(message)
        self.fault = message if fault is None else fault


class Registry(Generic[T]):
    """Parts of one kind by name.

    Args:
        noun: Word for a part in messages: "loss".
        group: Group of the entry points.
        parts: The parts of fit, to which others are added.
        accepts: Whether an object can be such a part.
        wanted: Description of such an object in messages: "a function".
    """

    def __init__(
        self, noun: str, group: str, parts: dict[str, T], accepts: Callable[[Any], bool] = callable,
        wanted: str = "a function or class",
    ) -> None:  # fmt: skip
        self.noun, self.group = noun, group
        self._parts, self._accepts, self._wanted = parts, accepts, wanted
        self._own = frozenset(parts)

    def register(self, name: str, part: T) -> T:
        """Add a part under a name, and return it.

        Raises:
            ValueError: The name is taken, or the object is no such part.
        """
        if name in self._parts:
            raise ValueError(f"there is a {self.noun} {name!r} already; choose another name")
        if not self._accepts(part):
            raise ValueError(f"{self.noun} {name!r} must be {self._wanted}, not {part!r:.80}")
        self._parts[name] = part
        return part

    def registers(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under a name."""
        return lambda part: self.register(name, part)

    def names(self) -> list[str]:
        """Return the names of all parts, those of fit first. Nothing is imported."""
        return list(dict.fromkeys((*self._parts, *sorted(_installed(self.group, tuple(sys.path))))))

    def added(self) -> list[str]:
        """Return the names that are not those of fit."""
        return [name for name in self.names() if name not in self._own]

    def find(self, name: str) -> T:
        """Return the part of this name, which may be imported for that.

        Raises:
            PluginError: There is none, several packages have it, or the package that has it is broken.
        """
        if name not in self._parts and not self.load(name):
            names = self.names()
            known = f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}; install the package that has it"
            raise PluginError(f"no {self.noun} {name!r}; {known}", f"no such {self.noun}; {known}")
        return self._parts[name]

    def load(self, name: str) -> bool:
        """Import the part of this name if a package has it; return whether there is one now. See `find` for errors."""
        if name in self._parts:
            return True
        found = _installed(self.group, tuple(sys.path)).get(name, ())
        if len(found) > 1:
            packages = " and in ".join(map(_package, found))
            raise self._error(name, f"is in {packages}; uninstall one of them")
        for entry in found:
            self._parts[name] = self._imported(entry)
        return bool(found)

    def _imported(self, entry: EntryPoint) -> T:
        advice = f"update or uninstall {_package(entry)}, which adds it ({entry.value})"
        try:
            part = entry.load()
        except (Exception, SystemExit) as error:
            # Whatever a foreign module does while it is imported.
            reason = f"{type(error).__name__}: {error}"
            raise self._error(entry.name, f"cannot be imported ({reason}); {advice}") from error
        if not self._accepts(part):
            raise self._error(entry.name, f"must be {self._wanted}, not {part!r:.80}; {advice}")
        return part  # type: ignore[no-any-return]  # `accepts` has checked it

    def _error(self, name: str, fault: str) -> PluginError:
        return PluginError(f"{self.noun} {name!r} {fault}", fault)


@cache
def _installed(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name. Looking for them takes time, so it is done once per `sys.path`."""
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=group):
        # A distribution may be listed twice, as by an editable installation.
        found.setdefault(entry.name, {})[_package(entry), entry.value] = entry
    return {name: tuple(each.values()) for name, each in found.items()}


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
