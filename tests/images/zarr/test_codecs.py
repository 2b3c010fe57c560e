"""Codecs of zarr chunks decode what numcodecs and zarr-python encode; damage is an error."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
from support.reader_contract import assert_equal, read_all
from zarr import codecs

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image
from fitcli.images.zarr.codecs import ShardIndex, decoder_v2, decoder_v3, shard_codecs, without_checksum
from tests.images.zarr.test_chunks import chunk_files
from tests.images.zarr.test_reader import VARIETIES, picture, write_array

COMPRESSORS = {
    "zstd": numcodecs.Zstd(),
    "blosc": numcodecs.Blosc(cname="zstd", shuffle=1),
    "gzip": numcodecs.GZip(),
    "zlib": numcodecs.Zlib(),
    "lz4": numcodecs.LZ4(),
    "bz2": numcodecs.BZ2(),
    "lzma": numcodecs.LZMA(),
}
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def noise(dtype: str) -> Pixels:
    return np.random.default_rng(0).integers(0, 9, (8, 6)).astype(dtype)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f8"])
@pytest.mark.parametrize("name", [None, *COMPRESSORS])
def test_format_2(name: str | None, dtype: str, order: Any):
    pixels, compressor = noise(dtype), None if name is None else COMPRESSORS[name]
    document = {"chunks": [8, 6], "order": order, "compressor": compressor and compressor.get_config()}
    decoder = decoder_v2(document, np.dtype(dtype))
    assert decoder is not None
    data = pixels.tobytes(order)
    assert_equal(decoder(bytes(compressor.encode(data)) if compressor else data), pixels)


@pytest.mark.parametrize(
    "codec",
    [
        numcodecs.Delta(dtype="<u2"),
        numcodecs.Shuffle(2),
        numcodecs.FixedScaleOffset(offset=3, scale=1, dtype="<u2", astype="<u1"),
        numcodecs.AsType(encode_dtype="<u4", decode_dtype="<u2"),
    ],
    ids=lambda codec: codec.codec_id,
)
def test_filters_of_format_2(codec: Any):
    pixels = noise("<u2") + np.uint16(3)
    decoder = decoder_v2({"chunks": [8, 6], "filters": [codec.get_config()]}, pixels.dtype)
    assert decoder is not None
    assert_equal(decoder(np.asarray(codec.encode(pixels)).tobytes()), pixels)


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("name", COMPRESSORS)
def test_format_3(name: str, endian: str):
    pixels = noise("<u2" if endian == "little" else ">u2")
    chain = [
        {"name": "transpose", "configuration": {"order": [1, 0]}},
        {"name": "bytes", "configuration": {"endian": endian}},
        {"name": f"numcodecs.{name}", "configuration": {}},
        {"name": "crc32c"},
    ]
    decoder = decoder_v3(chain, (8, 6), np.dtype("u2"))
    assert decoder is not None
    data = bytes(COMPRESSORS[name].encode(pixels.T.tobytes()))
    checksum = int(google_crc32c.value(data)).to_bytes(4, "little")
    np.testing.assert_array_equal(decoder(data + checksum), pixels)
    for damaged in (data, data + checksum[::-1], b""):
        with pytest.raises(ValueError, match="checksum"):
            decoder(damaged)


@pytest.mark.parametrize(
    "chain",
    [
        [],
        [{"name": "zstd"}, BYTES],
        [BYTES, BYTES],
        [BYTES, {"name": "zstd"}, {"name": "gzip"}],
        [BYTES, {"name": "crc32c"}, {"name": "zstd"}],
        [BYTES, {"name": "vlen-utf8"}],
        [{"name": "transpose", "configuration": {"order": "F"}}, BYTES],
    ],
)
def test_chains_that_are_not_supported(chain: list[dict[str, Any]]):
    assert decoder_v3(chain, (8, 6), np.dtype("u1")) is None


def test_codecs_of_format_2_that_are_not_supported():
    assert decoder_v2({"chunks": [8, 6], "compressor": {"id": "jpeg"}}, np.dtype("u1")) is None
    assert decoder_v2({"chunks": [8, 6], "filters": [{"id": "pickle"}]}, np.dtype("u1")) is None


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("size", [0, 47, 49, 10**7])
def test_chunks_of_another_size_are_errors(name: str, size: int):
    decoder = decoder_v2({"chunks": [8, 6], "compressor": {"id": name}}, np.dtype("u1"))
    assert decoder is not None
    data = bytes(COMPRESSORS[name].encode(bytes(size)))
    tracemalloc.start()
    try:
        with pytest.raises((ValueError, RuntimeError)):
            decoder(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_checksum():
    assert without_checksum(b"123456789" + 0xE3069283.to_bytes(4, "little")) == b"123456789", "RFC 3720, B.4"


@pytest.mark.parametrize("checksum", [True, False])
def test_layout_of_an_index(checksum: bool):
    index_codecs = [BYTES, {"name": "crc32c"}] if checksum else [BYTES]
    options = {"chunk_shape": [1, 16, 16], "codecs": [BYTES], "index_codecs": index_codecs, "index_location": "start"}
    result = shard_codecs([{"name": "sharding_indexed", "configuration": options}], (3, 32, 64))
    assert result == (ShardIndex((3, 2, 4), at_end=False, checksum=checksum), (1, 16, 16), [BYTES])
    assert result[0].size == 3 * 2 * 4 * 16 + (4 if checksum else 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"chunk_shape": [1, 16]},
        {"chunk_shape": [1, 16, 15]},
        {"chunk_shape": [1, 16, 0]},
        {"index_codecs": [BYTES, {"name": "zstd"}]},
        {"index_codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
    ],
)
def test_shards_that_are_not_supported(changes: dict[str, Any]):
    options = {"chunk_shape": [1, 16, 16], "codecs": [BYTES], "index_codecs": [BYTES]} | changes
    assert shard_codecs([{"name": "sharding_indexed", "configuration": options}], (3, 32, 64)) is None
    assert shard_codecs([BYTES], (3, 32, 64)) is None


def test_wrong_checksum_is_an_error(tmp_path: Path):
    VARIETIES["v3_zstd_checksum"](tmp_path / "image")
    file = chunk_files(tmp_path / "image")[0]
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with open_image(tmp_path / "image") as reader, pytest.raises(ImageError, match="checksum"):
        read_all(reader)


@pytest.mark.parametrize("name", ["zstd", "gzip", "blosc"])
def test_chunk_that_expands_without_end_is_an_error(tmp_path: Path, name: str):
    compressors: Any = {"zstd": codecs.ZstdCodec(), "gzip": codecs.GzipCodec(), "blosc": codecs.BloscCodec()}[name]
    encode = {"zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip(level=1), "blosc": numcodecs.Blosc()}[name].encode
    write_array(tmp_path / "image", picture(1)[:64, :64, 0], chunks=(64, 64), compressors=compressors)
    (tmp_path / "image" / "c" / "0" / "0").write_bytes(encode(bytes(128 << 20)))
    with open_image(tmp_path / "image") as reader:
        tracemalloc.start()
        with pytest.raises(ImageError, match="cannot be decoded"):
            read_all(reader)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 8 << 20
