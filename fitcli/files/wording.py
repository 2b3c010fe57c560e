"""Numbers of things in messages: "1 image", "2 images"."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: "1 image", "2 images", "1,200 pixels".

    Args:
        number: The number.
        noun: Name of one thing, with what stands before and after it: "more image", "polygon without a class".
        plural: Name of several; None if an "s" at the end makes it.
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {f'{noun}s' if plural is None else plural}"
