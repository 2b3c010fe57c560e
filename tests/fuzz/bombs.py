"""Writes small files that ask for much memory or time: each is an example of a kind of forged header or metadata."""

from __future__ import annotations

import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import zarr
from PIL import Image

Write = Callable[[Path], object]

BOMBS: dict[str, Write] = {}
"""Writer per name of a kind; it writes a file or, for zarr, a folder."""

GREY = np.zeros((32, 32), np.uint8)
GREY[3, 4] = 9

SHORT, LONG, ASCII = 3, 4, 2
"""Types of TIFF tags."""


def tiff(data: bytes, compression: int, *, side: int = 32, samples: int = 1, bits: int = 8, text: str = "") -> bytes:
    """Return a TIFF of one chunk of `side` x `side` pixels, which holds `data` as it is."""
    body = data + b"\0" * (-len(data) % 4)
    description = text.encode() + b"\0"
    fields = [
        (256, LONG, 1, side),
        (257, LONG, 1, side),
        (258, SHORT, 1, bits),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, 2 if samples == 3 else 1),
        (270, ASCII, len(description), 8 + len(body)),
        (273, LONG, 1, 8),
        (277, SHORT, 1, samples),
        (278, LONG, 1, side),
        (279, LONG, 1, len(data)),
    ]
    if not text:
        del fields[5]
    if samples > 1:
        fields[2] = (258, SHORT, 1, bits)
    description += b"\0" * (len(description) % 2)
    directory = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(body) + len(description)) + body + description + directory


def _chunk(name: str, compression: int, data: Callable[[], bytes], **options: Any) -> None:
    BOMBS[f"tiff-{name}"] = lambda path: path.write_bytes(tiff(data(), compression, **options))


def _stack(path: Path, text: str) -> None:
    """Write a page of two raw strips, the second one first, so that they are no single strip."""
    data = bytearray(tiff(bytes(2048), 1, text=text))
    at = struct.unpack_from("<I", data, 4)[0]
    for tag, value in ((273, (8 + 1024, 8)), (279, (512, 512)), (278, (16,))):
        entry = data.index(struct.pack("<HH", tag, LONG), at)
        struct.pack_into("<I", data, entry + 4, len(value))
        struct.pack_into("<I", data, entry + 8, value[0] if len(value) == 1 else len(data))
        if len(value) > 1:
            data += struct.pack("<2I", *value)
    path.write_bytes(data)


def _page(name: str, text: str) -> None:
    BOMBS[f"tiff-{name}"] = lambda path: path.write_bytes(tiff(bytes(32 * 32), 1, text=text))


def lerc(height: int, width: int) -> bytes:
    """Return a constant LERC picture of version 2, which has no checksum."""
    data = bytearray(imagecodecs.lerc_encode(np.full((32, 32), 7, np.uint8), version=2))
    struct.pack_into("<III", data, 10, height, width, height * width)
    return bytes(data)


def jpeg2000(
    side: int = 32,
    *,
    tile: int = 0,
    components: int = 1,
    layers: int = 1,
    levels: int = 1,
    block: int = 4,
    precincts: bool = False,
) -> bytes:
    """Return a codestream without pixels, whose header makes a decoder allocate.

    Args:
        side: Side of the picture in pixels.
        tile: Side of its tiles; 0 for one tile.
        components: Number of components.
        layers: Number of quality layers.
        levels: Number of wavelet levels.
        block: Binary logarithm of the side of code blocks, minus 2.
        precincts: Whether precincts have 1 x 1 coefficient; otherwise they have the largest size.
    """
    tile = tile or side
    size = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, tile, tile, 0, 0, components) + b"\x07\1\1" * components
    style = (
        struct.pack(">BBHBBBBBB", precincts, 0, layers, 0, levels, block, block, 0, 1)
        + (b"\0" + b"\x11" * levels) * precincts
    )
    steps = struct.pack(">B", 0x40) + b"\x40" * (3 * levels + 1)
    segments = ((0x51, size), (0x52, style), (0x5C, steps))
    header = b"".join(struct.pack(">BBH", 0xFF, code, len(body) + 2) + body for code, body in segments)
    part = b"\xff\x93" + bytes(8)
    return b"\xff\x4f" + header + struct.pack(">HHHIBB", 0xFF90, 10, 0, 12 + len(part), 0, 1) + part + b"\xff\xd9"


def jpegxr() -> bytes:
    """Return a JPEG XR of 32 x 32 pixels, whose codestream claims 60,000 x 60,000."""
    data = bytearray(imagecodecs.jpegxr_encode(GREY))
    at = data.index(b"WMPHOTO\0") + 8
    struct.pack_into(">HH", data, at + 4, 59_999, 59_999)
    for tag in (0xBC80, 0xBC81):
        entry = data.index(struct.pack("<HHI", tag, 4, 1))
        struct.pack_into("<I", data, entry + 8, 60_000)
    return bytes(data)


def png(header: bytes, *parts: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of a header and (name, content), with matching checksums."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in ((b"IHDR", header), *parts, (b"IEND", b""))
    )


def deep_png(side: int = 9000) -> bytes:
    """Return a PNG of `side` x `side` pixels with four samples of 16 bits, all 0."""
    rows = zlib.compressobj(9)
    body = b"".join(rows.compress(bytes(1 + 8 * side)) for _ in range(side)) + rows.flush()
    return png(struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0), (b"IDAT", body))


def long_texts() -> bytes:
    """Return a PNG of 32 x 32 pixels with a profile and a text that each unpack to 400 MiB."""
    bomb = b"a\0\0" + zlib.compress(bytes(400 << 20), 9)
    parts = (b"iCCP", bomb), (b"zTXt", bomb), (b"IDAT", zlib.compress(bytes(33 * 32)))
    return png(struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0), *parts)


def png_of_parts(kind: bytes) -> bytes:
    """Return a PNG of 6,000 x 6,000 pixels with a million empty parts."""
    pixels = (b"IDAT", zlib.compress(bytes(6001 * 6000)))
    return png(struct.pack(">IIBBBBB", 6000, 6000, 8, 0, 0, 0, 0), *[(kind, b"")] * 1_000_000, pixels)


def scans(count: int, side: int = 2048) -> bytes:
    """Return a progressive JPEG of `side` x `side` pixels with `count` scans, each of few bytes."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    refined = data.rindex(b"\xff\xc4", 0, last)  # the scan with its table
    return data[:last] + (data[refined:-2]) * count + b"\xff\xd9"


def _tiffs() -> None:
    _chunk("lerc-size", 34887, lambda: lerc(46_000, 46_000))
    _chunk("lerc-bands", 34887, lambda: lerc(2048, 2048) * 500, side=2048)
    _chunk("jpeg2000-size", 34712, lambda: jpeg2000(30_000))
    _chunk("jpeg2000-precincts", 34712, lambda: jpeg2000(4096, precincts=True), side=4096)
    _chunk("jpeg2000-blocks", 34712, lambda: jpeg2000(7000, block=0), side=7000)
    _chunk("jpeg2000-layers", 34712, lambda: jpeg2000(4096, layers=65_535, levels=5, precincts=True), side=4096)
    _chunk("jpeg2000-layers-blocks", 34712, lambda: jpeg2000(512, layers=65_535, levels=5, block=0), side=512)
    _chunk("jpeg2000-tiles", 34712, lambda: jpeg2000(4096, tile=17), side=4096)
    _chunk("jpeg2000-components", 34712, lambda: jpeg2000(1024, components=16_384), side=1024)
    _chunk("jpegxl-size", 50002, lambda: imagecodecs.jpegxl_encode(np.zeros((9000, 9000), np.uint8), effort=1))
    _chunk(
        "jpegxl-channels",
        50002,
        lambda: imagecodecs.jpegxl_encode(np.zeros((2000, 2000, 40), np.uint8), photometric="gray", effort=1),
    )
    _chunk("jpegxr-size", 22610, jpegxr)
    _chunk(
        "webp-size",
        50001,
        lambda: imagecodecs.webp_encode(np.zeros((9000, 9000, 3), np.uint8), lossless=True),
        samples=1,
    )
    _chunk("png-size", 34933, deep_png)
    _chunk("png-samples", 34933, deep_png, side=9000)
    _chunk("png-text", 34933, long_texts)
    _chunk("jpeg-scans", 7, lambda: scans(10_000, 4096), side=4096)
    _chunk("jpeg-segments", 7, lambda: b"\xff\xd8" + b"\xff\xfe\0\2" * 250_000 + scans(1, 32)[2:])
    _chunk("bits", 8, lambda: zlib.compress(bytes(244 << 20), 9), side=16_000, bits=1)
    _chunk("bits-zstd", 50000, lambda: imagecodecs.zstd_encode(bytes(244 << 20)), side=16_000, bits=1)
    _chunk(
        "lzma-dictionary",
        34925,
        lambda: lzma.compress(bytes(1 << 20), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]),
    )
    for axis in ("channels", "slices", "frames"):
        text = f"ImageJ=1.54\nimages=10000000\n{axis}=10000000\n"
        BOMBS[f"tiff-imagej-{axis}"] = lambda path, text=text: _stack(path, text)
    some = "ImageJ=1.54\nimages=60000\nchannels=60000\n"
    BOMBS["tiff-imagej-some"] = lambda path: _stack(path, some)
    attributes = (
        'ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="{}" SizeY="{}" SizeC="{}" SizeZ="{}" SizeT="1"'
    )
    image = '<Image ID="Image:0"><Pixels ' + attributes + '><TiffData IFD="0" PlaneCount="{}"/></Pixels></Image>'
    ome = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'
    _page("ome-planes", ome.format(image.format(32, 32, 1, 100_000_000, 1)))
    _page("ome-channels", ome.format(image.format(32, 32, 100_000_000, 1, 1)))
    _page("ome-size", ome.format(image.format(320_000, 320_000, 1, 1, 1)))
    _page("ome-count", ome.format(image.format(32, 32, 1, 1, 300_000_000)))
    _page("ome-images", ome.format(image.format(32, 32, 60_000, 1, 1) * 10_000))
    first = image.replace('IFD="0"', 'IFD="0" FirstZ="99999999"').format(32, 32, 1, 100_000_000, 1)
    _page("ome-first", ome.format(first))
    annotation = (
        '<StructuredAnnotations><XMLAnnotation ID="A" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value>'
        '<Modulo><ModuloAlongZ Type="other" Start="0" End="300000000" Step="1"/></Modulo></Value></XMLAnnotation>'
        "</StructuredAnnotations>"
    )
    _page("ome-modulo", ome.format(image.format(32, 32, 1, 1, 1) + annotation))
    scn = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection><image><pixels>'
        '<dimension c="20000" z="20000" r="0" ifd="0"/><dimension c="0" z="0" r="0" ifd="0"/></pixels></image>'
        "</collection></scn>"
    )
    _page("scn-channels", scn)
    _page("shaped-axes", f'{{"shape": [{", ".join([str(10**17)] * 500_000)}]}}')


def jpeg_with(segment: bytes, count: int) -> bytes:
    """Return a JPEG with `count` segments in front of its pixels."""
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "JPEG")
    return file.getvalue()[:2] + segment * count + file.getvalue()[2:]


def _rasters() -> None:
    def data(name: str, make: Callable[[], bytes]) -> None:
        BOMBS[name] = lambda path: path.write_bytes(make())

    data("jpeg-scans", lambda: scans(10_000, 8000))
    data("jpeg-segments", lambda: jpeg_with(b"\xff\xfe\0\2", 15_000_000))
    data("jpeg-padding", lambda: jpeg_with(b"\xff", 60_000_000))
    for name, kind in (("empty-parts", b"IDAT"), ("texts", b"tEXt")):
        data(f"png-{name}", partial(png_of_parts, kind))
    gif = io.BytesIO()
    Image.fromarray(GREY).save(gif, "GIF")
    body = gif.getvalue()
    at = body.index(b",\0\0\0\0")
    data("gif-frames", lambda: body[:-1] + body[at:-1] * 1_000_000 + b";")
    data("gif-comments", lambda: body[:at] + b"!\xfe\1a\0" * 8_000_000 + body[at:])
    bmp = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 0, 0, 0, 1078, 40, 12_000, 12_000, 1, 8, 1, 0, 0, 0, 256, 0) + bytes(
        1024
    )
    data("bmp-runs", lambda: bmp + b"\1\0" * 60_000_000)
    qoi = struct.pack(">4sIIBB", b"qoif", 12_000, 12_000, 3, 0)
    data("qoi", lambda: qoi + b"\xfd" * (12_000 * 12_000 // 62 + 1) + bytes(7) + b"\1")
    data("pgm-plain", lambda: b"P2 8000 8000 255\n" + b"0 " * 30_000_000)
    data("pgm-comments", lambda: b"P5\n" + b"#\n" * 30_000_000 + b"8 8 255\n" + bytes(64))
    data("jpeg2000-precincts", lambda: jpeg2000(8000, precincts=True))
    data("jpeg2000-layers", lambda: jpeg2000(2000, layers=65_535, levels=5, block=0))
    data(
        "tga",
        lambda: (
            struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 13_000, 13_000, 24, 0) + b"\xff\0\0\0" * 1_400_000
        ),
    )


def change_v2(path: Path, change: Callable[[dict[str, Any]], object], data: bytes, side: int = 32) -> None:
    """Write a zarr 2 array of one chunk, whose document `change` changes and whose chunk holds `data`."""
    options = {"dtype": "u1", "compressors": None, "zarr_format": 2}
    zarr.create_array(str(path), shape=(side, side), chunks=(side, side), **options)
    document = json.loads((path / ".zarray").read_text())
    change(document)
    (path / ".zarray").write_text(json.dumps(document))
    (path / "0.0").write_bytes(data)


def _array(
    name: str, change: Callable[[dict[str, Any]], object], data: bytes | Callable[[], bytes], side: int = 32
) -> None:
    BOMBS[f"zarr-{name}"] = lambda path: change_v2(path, change, data() if callable(data) else data, side)


def _v3(name: str, change: Callable[[dict[str, Any]], None], data: bytes = b"", side: int = 32) -> None:
    def write(path: Path) -> None:
        zarr.create_array(str(path), shape=(side, side), dtype="u1", chunks=(side, side), compressors=None)
        document = json.loads((path / "zarr.json").read_text())
        change(document)
        (path / "zarr.json").write_text(json.dumps(document))
        (path / "c" / "0").mkdir(parents=True)
        (path / "c" / "0" / "0").write_bytes(data)

    BOMBS[f"zarr-{name}"] = write


def _group(name: str, datasets: list[dict[str, Any]], consolidated: int = 0, axes: Any = ("y", "x")) -> None:
    def write(path: Path) -> None:
        group = zarr.create_group(str(path))
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": list(axes), "datasets": datasets}]}
        group.create_array("0", shape=(32, 32), dtype="u1", chunks=(32, 32))[...] = GREY
        if consolidated:
            document = json.loads((path / "zarr.json").read_text())
            array = json.loads((path / "0" / "zarr.json").read_text())
            document["consolidated_metadata"] = {
                "kind": "inline",
                "must_understand": False,
                "metadata": {f"a{n}": array for n in range(consolidated)},
            }
            (path / "zarr.json").write_text(json.dumps(document))

    BOMBS[f"zarr-{name}"] = write


def _zarrs() -> None:
    scale = [{"type": "scale", "scale": [1, 1]}]
    _group("levels", [{"path": "0"}] * 20_000)
    _group("consolidated", [{"path": "0", "coordinateTransformations": scale}], consolidated=9_000)
    widen = {"id": "astype", "encode_dtype": "|u1", "decode_dtype": "<u8"}
    zstd = {"id": "zstd", "level": 1}
    _array(
        "astype", lambda d: d.update(filters=[widen] * 4, compressor=zstd), numcodecs.Zstd().encode(bytes(32 * 32 * 8))
    )
    text = {"id": "astype", "encode_dtype": "|u1", "decode_dtype": "|S400000"}
    _array("astype-text", lambda d: d.update(filters=[text]), bytes(32 * 32))
    for kind in ("delta", "fixedscaleoffset", "quantize"):
        more = {"scale": 1, "offset": 0} if kind == "fixedscaleoffset" else {"digits": 1} if kind == "quantize" else {}
        filters = [{"id": kind, "dtype": "|S400000", "astype": "|u1", **more}]
        _array(f"{kind}-text", lambda d, filters=filters: d.update(filters=filters), bytes(32 * 32))
    _array("packbits", lambda d: d.update(filters=[{"id": "packbits"}] * 3), bytes(32 * 32 * 8))
    side = 16_000
    scaled = {"id": "fixedscaleoffset", "scale": 1, "offset": 0, "dtype": "|u1", "astype": "|u1"}
    _array(
        "scaled",
        lambda d: d.update(filters=[scaled], compressor=zstd),
        numcodecs.Zstd().encode(bytes(side * side)),
        side=side,
    )
    _array("many-filters", lambda d: d.update(filters=[{"id": "delta", "dtype": "|u1"}] * 40_000), bytes(32 * 32))
    _array("axes", lambda d: d.update(shape=[10**18] * 60_000, chunks=[10**18] * 60_000), b"")
    _array("dtype", lambda d: d.update(dtype="|V2000000000"), b"")
    _group("described-axes", [{"path": "0"}], axes=["y", "x"] * 100_000)
    checks = {"name": "crc32c"}
    _v3("checksums", lambda d: d["codecs"].extend([checks] * 60_000), bytes(16_000_000), side=4000)
    turn = {"name": "transpose", "configuration": {"order": [1, 0]}}
    _v3("transposes", lambda d: d.update(codecs=[turn] * 60_000 + d["codecs"]), bytes(1024))
    _v3("axes-3", lambda d: d.update(shape=[10**18] * 60_000), b"")
    blosc = bytearray(numcodecs.Blosc(cname="lz4").encode(GREY))
    struct.pack_into("<I", blosc, 8, 2**31 - 100)
    _array("blosc-block", lambda d: d.update(compressor={"id": "blosc"}), bytes(blosc))
    wide = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    _array(
        "lzma-dictionary",
        lambda d: d.update(compressor={"id": "lzma"}),
        lambda: lzma.compress(bytes(1024), filters=wide),
    )


_tiffs()
_rasters()
_zarrs()
