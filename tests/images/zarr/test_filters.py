"""Filters of zarr 2 are undone in known sizes."""

from __future__ import annotations

from typing import Any

import numcodecs
import numpy as np
import pytest

from fitcli.images.zarr.filters import FIELDS, MAX_FILTERS, chunk_filters

VALUES = np.arange(48, dtype=np.uint16)

CODECS: dict[str, tuple[Any, Any]] = {
    "delta": (numcodecs.Delta("<u2"), VALUES),
    "fixedscaleoffset": (numcodecs.FixedScaleOffset(0, 2, "<f8", "|u1"), VALUES.astype("f8")),
    "quantize": (numcodecs.Quantize(2, "<f8", "<f4"), VALUES.astype("f8")),
    "astype": (numcodecs.AsType("|u1", "<u2"), VALUES),
    "bitround": (numcodecs.BitRound(8), VALUES.astype("f4")),
    "shuffle": (numcodecs.Shuffle(2), VALUES),
    "packbits": (numcodecs.PackBits(), VALUES[:45] % 2 > 0),
}
"""(filter, values) per name."""


@pytest.mark.parametrize("name", FIELDS)
def test_every_filter(name: str) -> None:
    codec, values = CODECS[name]
    filters = chunk_filters([codec.get_config()], values.size, values.dtype)
    assert filters is not None
    encoded = np.asarray(codec.encode(values)).tobytes()
    assert filters.sizes == (values.nbytes, len(encoded))
    np.testing.assert_array_equal(np.frombuffer(filters.undo(encoded), values.dtype), values)
    for wrong in (encoded + b"\0", encoded[:-1]):
        with pytest.raises(ValueError, match="are needed"):
            filters.undo(wrong)


def test_a_chain() -> None:
    chain = [numcodecs.Delta("<u2"), numcodecs.AsType("|u1", "<u2"), numcodecs.Shuffle(1)]
    filters = chunk_filters([codec.get_config() for codec in chain], 48, np.dtype("u2"))
    assert filters is not None
    assert filters.sizes == (96, 96, 48, 48)
    encoded = VALUES
    for codec in chain:
        encoded = codec.encode(encoded)
    np.testing.assert_array_equal(np.frombuffer(filters.undo(np.asarray(encoded).tobytes()), "u2"), VALUES)


WIDE = ("|S400000", "|V9", "<U100", "|O", "<M8[s]", "<c16", "<f16", "S", "")


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("name", [name for name, fields in FIELDS.items() if fields])
def test_values_that_are_no_numbers(name: str, dtype: str) -> None:
    for field in FIELDS[name]:
        described = {"id": name, **dict.fromkeys(FIELDS[name], "|u1"), field: dtype or "x"}
        assert chunk_filters([described], 48, np.dtype("u1")) is None


def test_filters_that_multiply() -> None:
    widen = {"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<u8"}
    assert chunk_filters([widen, widen], 48, np.dtype("u1")) is None
    assert chunk_filters([widen, widen], 48, np.dtype("u8")) is None
    assert chunk_filters([{"id": "shuffle"}] * (MAX_FILTERS + 1), 48, np.dtype("u1")) is None


def test_memory_of_floats_counts() -> None:
    scaled = {"id": "fixedscaleoffset", "scale": 1, "offset": 0, "dtype": "|u1", "astype": "|u1"}
    filters = chunk_filters([scaled], 1000, np.dtype("u1"))
    assert filters is not None
    assert filters.memory >= 24_000
