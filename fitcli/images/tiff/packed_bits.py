"""Decodes TIFF chunks whose samples are not whole bytes: masks of 1 bit, cameras with 12 bits.

tifffile decompresses as many bytes as the unpacked pixels take, which then unpack to eight times as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import imagecodecs
import numpy as np

from fitcli.images.base import Pixels
from fitcli.images.tiff.lzw import valid_lzw

DECODERS: Mapping[int, str] = MappingProxyType(
    {1: "", 5: "lzw", 8: "deflate", 32773: "packbits", 32946: "deflate", 34925: "lzma", 34926: "zstd", 50000: "zstd"}
    | {50013: "deflate"}
)
"""Name of the decoder of imagecodecs per value of the Compression tag; "" for none."""

WHOLE = (8, 16, 32, 64, 128)
"""Bits per sample that are not packed."""

FAX = (2, 3, 4)
"""Values of the Compression tag whose decoders return one byte per pixel."""

SPARE_BYTES = 1024
"""Bytes behind the pixels that a chunk may hold."""


def unpacking_cost(keyframe: Any) -> int:
    """Return the memory that unpacking takes, as a multiple of the bytes of pixels; 1 if nothing is packed."""
    if not _is_packed(keyframe):
        return 1
    return 2 if PackedBits.suits(keyframe) else 10


def _is_packed(keyframe: Any) -> bool:
    return keyframe.bitspersample not in WHOLE and int(keyframe.compression) not in FAX


class PackedBits:
    """Decodes chunks of packed bits.

    Args:
        keyframe: The page, as tifffile describes it. `suits` must be true.
        shape: (height, width, channels) of a chunk.
        dtype: Dtype of the pixels.
    """

    def __init__(self, keyframe: Any, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self._decoder = DECODERS[int(keyframe.compression)]
        self._bits, self._reversed = int(keyframe.bitspersample), int(keyframe.fillorder) == 2
        self._shape, self._dtype = shape, dtype
        self._row_bytes = -(-shape[1] * shape[2] * self._bits // 8)

    @staticmethod
    def suits(keyframe: Any) -> bool:
        """Return whether chunks are packed in a way that this class decodes."""
        return (
            _is_packed(keyframe)
            and isinstance(keyframe.bitspersample, int)
            and np.dtype(keyframe.dtype).kind in "bui"
            and int(keyframe.predictor) == 1
            and int(keyframe.compression) in DECODERS
            and not keyframe.is_subsampled
        )

    def decode(self, data: bytes) -> Pixels:
        """Return the whole rows [rows, width, channels] that a chunk holds; at the bottom edge, it may hold fewer."""
        most = self._shape[0] * self._row_bytes
        decoded: bytes | bytearray = imagecodecs.bitorder_decode(data) if self._reversed else data
        if self._decoder == "lzw":
            decoded = valid_lzw(bytes(decoded))
        if self._decoder:
            decoded = getattr(imagecodecs, f"{self._decoder}_decode")(decoded, out=most + SPARE_BYTES)
        rows = min(len(decoded) // self._row_bytes, self._shape[0])
        samples = self._shape[1] * self._shape[2]
        packed = bytes(memoryview(decoded)[: rows * self._row_bytes])
        pixels: Pixels = imagecodecs.packints_decode(packed, self._dtype, self._bits, runlen=samples)
        return pixels.reshape(rows, *self._shape[1:])
