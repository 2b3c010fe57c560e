"""Describes how a data set has changed since a run was trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fitcli.data.class_names import composed
from fitcli.data.dataset import Listed
from fitcli.files.wording import counted

NAMED = 3
"""Number of images to name for each kind of change."""


def describe_changes(before: Sequence[Listed], now: Sequence[Listed]) -> str:
    """Describe which images were added, removed, given another label or moved to another split.

    Images are matched by their names within the data set.

    Returns:
        A phrase for an error message; "" if the images are the same in the same order.
    """
    # Earlier versions kept names in the Unicode form in which they were stored.
    before = [(composed(name), composed(label), split) for name, label, split in before]
    old, new = ({name: (label, split) for name, label, split in images} for images in (before, now))
    both = [name for name in new if name in old]
    kinds = [
        _describe([name for name in new if name not in old], "added"),
        _describe([name for name in old if name not in new], "removed"),
        _describe(
            [f"{name}: {new[name][0]}, was {old[name][0]}" for name in both if new[name][0] != old[name][0]],
            "with another label",
        ),
        _describe(
            [f"{name}: {new[name][1]}, was {old[name][1]}" for name in both if new[name][1] != old[name][1]],
            "in another split",
        ),
    ]
    if not any(kinds) and list(before) != list(now):
        return "the same images are listed in another order"
    return ", ".join(filter(None, kinds))


def describe_edits(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Describe which files of labels were edited, by their digests; "" for none, or for a record without digests."""
    edited = [name for name in now if before.get(name, now[name]) != now[name]]
    return _describe(edited, "edited", ("file of labels", "files of labels"))


def _describe(images: Sequence[str], change: str, noun: tuple[str, str] = ("image", "images")) -> str:
    if not images:
        return ""
    more = ["..."] if len(images) > NAMED else []
    return f"{counted(len(images), *noun)} {change} ({'; '.join([*images[:NAMED], *more])})"
