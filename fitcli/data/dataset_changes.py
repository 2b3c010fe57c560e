"""What is different about a data set since a run was trained on it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from fitcli.data.dataset import Listed

NAMED = 3
"""Images that are named of each kind of change."""


def changes(before: Sequence[Listed], now: Sequence[Listed]) -> str:
    """How images differ from those before: which were added, removed, given another class or moved to another split.

    An image is known by its name within the data set. Empty where they are the same in the same order.
    """
    old, new = ({name: (label, split) for name, label, split in images} for images in (before, now))
    both = [name for name in new if name in old]
    found = [
        _said([name for name in new if name not in old], "added"),
        _said([name for name in old if name not in new], "removed"),
        _said(
            [f"{name}: {new[name][0]}, was {old[name][0]}" for name in both if new[name][0] != old[name][0]],
            "of another class",
        ),
        _said(
            [f"{name}: {new[name][1]}, was {old[name][1]}" for name in both if new[name][1] != old[name][1]],
            "in another split",
        ),
    ]
    if not any(found) and list(before) != list(now):
        return "the same images are listed in another order"
    return ", ".join(kind for kind in found if kind)


def _said(names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    more = ["..."] if len(names) > NAMED else []
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} {what} ({'; '.join([*names[:NAMED], *more])})"
