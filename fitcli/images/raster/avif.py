"""Finds the depth of the samples of an AVIF picture, which Pillow does not tell."""

from __future__ import annotations

from pathlib import Path

HEADER_BYTES = 1 << 16
"""Bytes at the start of a file in which its header is looked for. The pixels come behind it."""


def avif_bits(path: Path) -> int:
    """Return the bits per sample that the configuration of the first picture names; 8 without one."""
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    at = start.find(b"av1C")
    if at < 0 or at + 7 > len(start):
        return 8
    flags = start[at + 6]  # behind the version and the profile: tier, high depth, twelve bits, ...
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10
