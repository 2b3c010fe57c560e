"""Fuzzes the parsers of fit itself, guided by coverage.

    pip install 'fitcli[fuzz]' && python tests/fuzz/atheris_parsers.py -max_total_time=600
    python tests/fuzz/atheris_parsers.py --random 100000        # without atheris: mutations of real headers

These parsers see a file before any library does, so they may raise only the errors that they document.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

try:
    import atheris

    instrument = atheris.instrument_imports(include=["fitcli.images"])
except ImportError:
    atheris, instrument = None, contextlib.nullcontext()

with instrument:
    from fitcli.images.encoded_size import encoded_size, essential_png, is_complete_jpeg, jpeg_frame
    from fitcli.images.png_header import read_header
    from fitcli.images.tiff.metadata import aperio_mpp, ome_mpp, ome_other_file
    from fitcli.images.zarr.codecs import ShardIndex, decoder_v2, decoder_v3, shard_codecs
    from fitcli.images.zarr.ngff import array_axes, multiscale

import numpy as np  # noqa: E402
from mutations import mutate  # noqa: E402
from PIL import Image  # noqa: E402

from fitcli.errors import ImageError  # noqa: E402

METADATA_ERRORS = (ImageError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)
"""Errors that parsing an invalid document may raise. `ZarrReader` turns all of them into an `ImageError`."""


def sizes(data: bytes) -> None:
    """Parse headers of compressed pictures: a result, or `ValueError` from the functions that check."""
    size = encoded_size(data)
    assert size is None or all(isinstance(side, int) for side in size)
    assert is_complete_jpeg(data) in (True, False)
    for check in (
        essential_png,
        jpeg_frame,
        lambda header: read_header(io.BytesIO(header)),
    ):
        with contextlib.suppress(ValueError):
            check(data)


def texts(data: bytes) -> None:
    """Parse text of TIFF files: a result, never an error."""
    text = data.decode("utf-8", "replace")
    for mpp in (aperio_mpp(text), ome_mpp(text, 64, 48)):
        assert mpp is None or 0 < mpp < float("inf")
    other = ome_other_file(text, "image.tif")
    assert other is None or other


def documents(data: bytes) -> None:
    """Parse JSON of zarr: a result, or one of the errors that the reader expects."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    attempts: tuple[Callable[[], object], ...] = (
        lambda: multiscale(document.get("attributes", document), Path("image")),
        lambda: array_axes(tuple(document["shape"]), document.get("dimension_names")),
        lambda: decoder_v2(document, np.dtype("u1")),
        lambda: decoder_v3(document["codecs"], (64, 64), np.dtype("u2")),
        lambda: shard_codecs(document["codecs"], (64, 64)),
    )
    for attempt in attempts:
        with contextlib.suppress(METADATA_ERRORS):
            attempt()


def indices(data: bytes) -> None:
    """Parse indices of shards: a result, or `ValueError`."""
    for checksum in (True, False):
        with contextlib.suppress(ValueError):
            ShardIndex((2, 2), True, checksum).decode(data)


def test_one_input(data: bytes) -> None:
    """Run one parser, as atheris does. The first byte chooses it."""
    if data:
        (sizes, texts, documents, indices)[data[0] % 4](data[1:])


def seeds() -> list[bytes]:
    """Return valid headers and metadata, each behind the byte that chooses its parser."""
    result = []
    for kind in ("JPEG", "PNG", "WEBP", "JPEG2000"):
        file = io.BytesIO()
        Image.new("RGB", (16, 12)).save(file, kind)
        result.append(b"\0" + file.getvalue())
    result.append(
        b'\1<OME UUID="a"><Pixels SizeX="64" SizeY="48" PhysicalSizeX="0.5"/><UUID FileName="b.tif">c</UUID></OME>'
    )
    result.append(b"\1Aperio|AppMag = 20|MPP = 0.25")
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    scale = {"type": "scale", "scale": [0.5, 0.5]}
    images = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scale]}]}]
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    sharding = {"chunk_shape": [16, 16], "codecs": [little, {"name": "zstd"}], "index_codecs": [little]}
    for document in (
        {
            "attributes": {
                "ome": {"version": "0.5", "multiscales": images, "omero": {"channels": [{"color": "FF0000"}]}}
            }
        },
        {
            "shape": [64, 64],
            "chunks": [16, 16],
            "compressor": {"id": "zstd"},
            "filters": [{"id": "delta", "dtype": "u1"}],
        },
        {"shape": [64, 64], "codecs": [{"name": "transpose", "configuration": {"order": [1, 0]}}, little]},
        {"shape": [64, 64], "codecs": [{"name": "sharding_indexed", "configuration": sharding}]},
    ):
        result.append(b"\2" + json.dumps(document).encode())
    return [*result, b"\3" + bytes(64), b"\3" + bytes(68)]


def run_at_random(count: int, seed: int = 0) -> None:
    """Run the parsers on mutations of the seeds."""
    rng, begin = random.Random(seed), seeds()
    for _ in range(count):
        chosen = rng.choice(begin)
        test_one_input(chosen[:1] + mutate(chosen[1:], rng, begin))


def main() -> None:
    """Run until a parser raises an error that it does not document."""
    if "--random" in sys.argv:
        run_at_random(int(sys.argv[sys.argv.index("--random") + 1]))
    elif atheris is None:
        sys.exit("atheris is not installed: pip install 'fitcli[fuzz]', or give --random 100000")
    else:
        atheris.Setup(sys.argv, test_one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
