"""Bounds what the chunks of a TIFF decode to, for each value of the Compression tag that fit reads.

Byte codecs (deflate, LZW, zstd, ...) stop when their output is full. Picture codecs have headers of their own, which
are compared with the size that the TIFF declares before anything is decoded. The headers of JPEG XL and JPEG XR don't
bound the memory of their decoders: another process decodes them, under a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fitcli.images.encoded_size import MARGIN, check_scans, encoded_size, essential_png, jpeg_frame
from fitcli.images.jpeg2000 import read_codestream
from fitcli.images.lerc import lerc_bytes, unpacked_lerc
from fitcli.images.png_header import SAMPLES

SLACK_BYTES = 32 << 20
"""Memory of a decoder beside its pixels that is always accepted."""


LERC_HEADER_BYTES = 1 << 16
"""Bytes of a LERC chunk that are always accepted."""

MAX_COEFFICIENT_BYTES = 128 << 20
"""Largest memory for the coefficients of a chunk of progressive JPEG."""


@dataclass(frozen=True, slots=True)
class DeclaredChunk:
    """What a TIFF declares about each of its chunks.

    Attributes:
        height, width: Size in pixels.
        samples: Samples per pixel.
        sample_bytes: Bytes per sample.
    """

    height: int
    width: int
    samples: int
    sample_bytes: int

    def check(self, size: tuple[int, int] | None, samples: int, bits: int) -> None:
        """Compare the header of a chunk with the declaration.

        Raises:
            ValueError: The chunk is larger, or its size is None (unknown).
        """
        if size is None:
            raise ValueError("its header does not name its size")
        if size[0] > self.height + MARGIN or size[1] > self.width + MARGIN:
            raise ValueError(
                f"its header claims {size[0]} x {size[1]} pixels, not the declared {self.height} x {self.width}"
            )
        # In raw pictures of cameras, two pixels of one sample may be stored as one pixel of two.
        most = self.height * self.width * self.samples
        more = samples > self.samples and size[0] * size[1] * samples > most
        if more or -(-bits // 8) > self.sample_bytes:
            raise ValueError(
                f"its header claims {samples} samples of {bits} bits, not the declared {self.samples} of "
                f"{8 * self.sample_bytes}"
            )


Check = Callable[[bytes, DeclaredChunk], bytes]
"""Checks the header of a chunk; returns the bytes to decode. Raises `ValueError` if they decode to too much."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How chunks of one compression are decoded.

    Attributes:
        cost: Memory that decoding takes, as a multiple of the bytes of pixels, or more where it takes long.
        check: Checks the header of a chunk; None if the decoder stops when its output is full.
        limited: Name of the decoder in `decode_process.py`, if another process decodes the chunk; otherwise "".
    """

    cost: int = 1
    check: Check | None = None
    limited: str = ""


def check_jpeg(header: bytes, data: bytes, chunk: DeclaredChunk) -> None:
    """Check the frame header and the scans of a JPEG. `header` is `data` if it is not stored apart."""
    frame = jpeg_frame(header)
    if frame is None:
        raise ValueError("it has no frame header")
    chunk.check((frame.height, frame.width), frame.components, frame.bits)
    coefficients = 2 * frame.coefficients * frame.height * frame.width if frame.progressive else 0
    if coefficients > MAX_COEFFICIENT_BYTES:
        raise ValueError("it is progressive and too large to decode in a chunk")
    check_scans(data, frame)


def _check_whole_jpeg(data: bytes, chunk: DeclaredChunk) -> bytes:
    check_jpeg(data, data, chunk)
    return data


def _check_jpeg2000(data: bytes, chunk: DeclaredChunk) -> bytes:
    stream = read_codestream(data)
    chunk.check((stream.height, stream.width), stream.components, stream.bits)
    pixels = chunk.height * chunk.width * chunk.samples * chunk.sample_bytes
    if stream.overhead_bytes > SLACK_BYTES + pixels:
        raise ValueError(f"its header makes the decoder take {stream.overhead_bytes >> 20} MiB beside the pixels")
    return data


def _check_webp(data: bytes, chunk: DeclaredChunk) -> bytes:
    chunk.check(encoded_size(data), min(chunk.samples, 3), 8)
    return data


def _check_png(data: bytes, chunk: DeclaredChunk) -> bytes:
    size = encoded_size(data)
    samples = SAMPLES.get(data[25]) if len(data) > 25 else None
    if samples is None:
        raise ValueError("its header is invalid")
    chunk.check(size, samples, data[24])
    return essential_png(data)


def _check_lerc(data: bytes, chunk: DeclaredChunk) -> bytes:
    declared = chunk.height * chunk.width * chunk.samples * chunk.sample_bytes
    # Pixels that cannot be compressed take a little more than their bytes.
    data = unpacked_lerc(data, 2 * declared + LERC_HEADER_BYTES)
    claimed = lerc_bytes(data)
    if claimed > declared:
        raise ValueError(f"its header claims {claimed} bytes of pixels, not the declared {declared}")
    return data


_jpeg, _jpeg2000, _webp = Codec(check=_check_whole_jpeg), Codec(5, _check_jpeg2000), Codec(2, _check_webp)
_jpegxl, _jpegxr, _bytes = Codec(2, limited="jpegxl"), Codec(2, limited="jpegxr"), Codec()

CODECS: Mapping[int, Codec] = MappingProxyType(
    dict.fromkeys((1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013, 65000, 65001, 65002), _bytes)
    | dict.fromkeys((6, 7, 33007, 34892), _jpeg)
    | dict.fromkeys((33003, 33004, 33005, 34712), _jpeg2000)
    | dict.fromkeys((34927, 50001), _webp)
    | dict.fromkeys((50002, 52546), _jpegxl)
    | dict.fromkeys((22610, 34934), _jpegxr)
    | {34887: Codec(2, _check_lerc), 34933: Codec(check=_check_png)}
)
"""Codec per value of the Compression tag. Others are refused."""
