"""What settings of a model are checked for, and the error that names what is wrong. Standard library only."""

from __future__ import annotations


class ConfigError(ValueError):
    """A model that cannot exist: the message names the offending values."""


def check_positive(name: str, value: int) -> None:
    """Raise ConfigError for anything below 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")


def check_even(name: str, value: int, what: str) -> None:
    """Raise ConfigError for an odd value, which `what` cannot do with."""
    if value % 2:
        raise ConfigError(f"{name} must be even for {what}, not {value}")


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError for a word that is not allowed."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def check_type(name: str, value: object, annotation: str) -> None:
    """Raise ConfigError for a value that the annotation of its field does not allow.

    Configs come from JSON files: a string where a number belongs must not reach arithmetic.
    """
    if annotation.startswith("int"):
        optional = annotation.endswith("None")
        fits = (isinstance(value, int) and not isinstance(value, bool)) or (optional and value is None)
    elif annotation.startswith("tuple"):
        fits = isinstance(value, tuple) and all(type(item) is int for item in value)
    elif annotation == "bool":
        fits = isinstance(value, bool)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise ConfigError(f"{name} must be {annotation}, not {value!r}")
