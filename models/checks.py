"""Check the settings of a model and name the wrong one. Standard library only."""

from __future__ import annotations


class ConfigError(ValueError):
    """The settings describe no possible model; the message names the offending values."""


def check_positive(name: str, value: int) -> None:
    """Raise ConfigError unless `value` is at least 1."""
    if value < 1:
        raise ConfigError(f"{name} must be at least 1, not {value}")


def check_even(name: str, value: int, what: str) -> None:
    """Raise ConfigError if `value` is odd; `what` names the feature that needs an even one."""
    if value % 2:
        raise ConfigError(f"{name} must be even for {what}, not {value}")


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of the allowed words."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def check_type(name: str, value: object, annotation: str) -> None:
    """Raise ConfigError unless `value` has the type that the annotation of its field gives.

    Configs come from JSON files, so a string may stand where arithmetic expects a number.
    """
    if value is None and annotation.endswith("None"):
        fits = True
    elif annotation.startswith("int"):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif annotation.startswith("tuple"):
        fits = isinstance(value, tuple) and all(type(item) is int for item in value)
    elif annotation == "bool":
        fits = isinstance(value, bool)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise ConfigError(f"{name} must be {annotation}, not {value!r}")
