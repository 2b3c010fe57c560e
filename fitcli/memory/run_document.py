"""Describes a dry run as JSON data, so that another process can make its table."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from types import FunctionType
from typing import Any

from fitcli.memory.dry_run import DryRun

PACKAGES = ("fitcli", "models")
"""Packages whose classes and objects a document may name."""


class UnknownError(ValueError):
    """A document, or what it shall describe, names something that is not at the top level of a module of fit."""


def to_document(value: Any) -> Any:
    """Return JSON data for a dry run, or for a part of it.

    Raises:
        UnknownError: It has a part that no other process could find.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return {"tuple": [to_document(each) for each in value]}
    if dataclasses.is_dataclass(value):
        shown = {each.name: to_document(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init}
        return {"class": _place(type(value), type(value)), "fields": shown}
    return {"object": _place(value, value if isinstance(value, FunctionType) else type(value))}


def from_document(document: Any) -> DryRun:
    """Return the dry run that `to_document` described.

    Raises:
        UnknownError: The document names something that this process does not have.
    """
    run: DryRun = _value(document)
    return run


def _value(document: Any) -> Any:
    match document:
        case {"tuple": parts}:
            return tuple(_value(part) for part in parts)
        case {"class": place, "fields": fields}:
            return _find(place)(**{name: _value(value) for name, value in fields.items()})
        case {"object": place}:
            return _find(place)
        case None | str() | int() | float():
            return document
    raise UnknownError(f"{document!r} describes nothing")


def _place(value: Any, defined: Any) -> str:
    """Return "module:name" of a value at the top level of the module that defines it, or its class."""
    module = defined.__module__
    name = next((name for name, each in vars(sys.modules[module]).items() if each is value), None)
    if name is None or module.partition(".")[0] not in PACKAGES:
        raise UnknownError(f"{value!r} has no name in {module}")
    return f"{module}:{name}"


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    if module.partition(".")[0] not in PACKAGES:
        raise UnknownError(f"{place} is no part of fit")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnknownError(f"{place} does not exist") from error
