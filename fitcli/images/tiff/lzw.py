"""Finds the valid part of LZW data (TIFF 6.0, section 13).

The decoder of imagecodecs 2026.3.6 follows codes that are not in its table yet into memory that it never wrote: damaged
data can end the process.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLEAR, END = 256, 257
"""Codes that empty the table, and that end the data."""

MOST_CODES = 5120
"""Codes that are examined at once: a table is full after 3838, and writers then empty it."""

_numbers = np.arange(MOST_CODES)
_free = np.maximum(CLEAR + 1 + _numbers, END + 1)  # the next free entry of the table when a code is read
_WIDTHS = 9 + (_free >= 511).astype(np.int64) + (_free >= 1023) + (_free >= 2047)
_STARTS = np.cumsum(_WIDTHS) - _WIDTHS
_ENDS = _STARTS + _WIDTHS
_LARGEST = np.where(_numbers == 0, CLEAR - 1, np.minimum(CLEAR + 1 + _numbers, 4095))


def valid_lzw(data: bytes) -> bytes:
    """Return LZW data up to its end, or up to the first code that is not in the table."""
    padded = np.frombuffer(data + bytes(4), np.uint8)
    total, at = 8 * len(data), 0
    while at + _WIDTHS[0] <= total:
        count = int(np.searchsorted(_ENDS, total - at, side="right"))
        codes = _codes(padded, at, count)
        special = np.flatnonzero((codes == CLEAR) | (codes == END))
        stop = int(special[0]) if len(special) else count
        invalid = np.flatnonzero(codes[:stop] > _LARGEST[:stop])
        if len(invalid):
            return data[: -(-(at + int(_STARTS[invalid[0]])) // 8)]
        if stop == count or codes[stop] == END:
            return data[: -(-(at + int(_ENDS[min(stop, count - 1)])) // 8)]
        at += int(_ENDS[stop])
    return data


def _codes(padded: NDArray[np.uint8], at: int, count: int) -> NDArray[np.int64]:
    """Return the next codes after the table was emptied, from a position in bits."""
    places = at + _STARTS[:count]
    byte, widths = places >> 3, _WIDTHS[:count]
    bits = (padded[byte].astype(np.int64) << 16) | (padded[byte + 1].astype(np.int64) << 8) | padded[byte + 2]
    codes: NDArray[np.int64] = (bits >> (24 - (places & 7) - widths)) & ((1 << widths) - 1)
    return codes
