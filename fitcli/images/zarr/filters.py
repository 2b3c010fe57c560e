"""Undoes the filters of zarr 2 chunks, in sizes that are known before a chunk is decoded.

A filter maps each value to one value. The sizes between two filters therefore follow from the dtypes in the metadata
and the number of values of a chunk; chunks of any other size are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numcodecs  # type: ignore[import-untyped]
import numpy as np

MAX_FILTERS = 4
"""Largest number of filters of an array."""

NUMBERS = re.compile(r"[<>|]?(?:b1|[iu][1248]|f[248])\Z")
"""Dtypes of values that a filter may read or write, as numpy spells them."""

FIELDS = {
    "delta": ("dtype", "astype"),
    "fixedscaleoffset": ("dtype", "astype"),
    "quantize": ("dtype", "astype"),
    "astype": ("decode_dtype", "encode_dtype"),
    "bitround": (),
    "shuffle": (),
    "packbits": (),
}
"""Names of the fields with the dtype before and after a filter, per filter; () if it keeps the size or packs bits."""

FLOAT_COPIES = {"fixedscaleoffset": 3}
"""Arrays of float64 of all values that undoing a filter takes."""


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of an array.

    Attributes:
        codecs: Filters of `numcodecs`, in the order of encoding.
        sizes: Bytes of a chunk before each filter, and after the last one.
        memory: Bytes that undoing the filters takes.
    """

    codecs: tuple[Any, ...]
    sizes: tuple[int, ...]
    memory: int

    def undo(self, data: bytes | bytearray) -> bytes | bytearray:
        """Return a chunk as it was before the filters.

        Raises:
            ValueError: It has another size than the metadata imply.
        """
        for codec, before, after in zip(reversed(self.codecs), self.sizes[-2::-1], self.sizes[:0:-1], strict=True):
            if len(data) != after:
                raise ValueError(f"it holds {len(data)} bytes, but {after} are needed")
            data = np.asarray(codec.decode(data)).tobytes()
            if len(data) != before:
                raise ValueError(f"it holds {len(data)} bytes, but {before} are needed")
        return data


def chunk_filters(described: list[dict[str, Any]], values: int, dtype: np.dtype[Any]) -> Filters | None:
    """Return the filters that the metadata of an array describe; None if one of them is not supported.

    Args:
        described: Items of "filters".
        values: Number of values of a chunk.
        dtype: Dtype of the array.
    """
    if len(described) > MAX_FILTERS:
        return None
    sizes = [values * dtype.itemsize]
    copies = 0
    for each in described:
        kind = each["id"]
        fields = FIELDS.get(kind)
        if fields is None:
            return None
        dtypes = [str(each.get(field) or each.get(fields[0])) for field in fields]
        if not all(NUMBERS.match(name) for name in dtypes):
            return None
        if dtypes and values * np.dtype(dtypes[0]).itemsize != sizes[-1]:
            return None
        size = sizes[-1]
        if dtypes:
            size = values * np.dtype(dtypes[1]).itemsize
        elif kind == "packbits":  # one byte in front counts the bits of the last byte that are not used
            size = 1 + -(-size // 8)
        sizes.append(size)
        copies = max(copies, FLOAT_COPIES.get(kind, 0))
    memory = 3 * max(sizes) + 8 * copies * values if described else 0
    return Filters(tuple(map(numcodecs.get_codec, described)), tuple(sizes), memory)
