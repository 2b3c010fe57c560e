"""Every codec of TIFF has a bound, and codecs without one are refused."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from bombs import scans, tiff
from PIL import Image

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.tiff import compressions
from fitcli.images.tiff.compressions import CODECS, DeclaredChunk, check_jpeg
from fitcli.images.window import Window

CHUNK = DeclaredChunk(32, 32, 1, 1)


def test_all_picture_codecs_of_tifffile_are_checked_or_limited() -> None:
    for code in tifffile.TIFF.IMAGE_COMPRESSIONS:
        codec = CODECS.get(int(code))
        fax_or_electrons = int(code) in (2, 3, 4, 65000, 65001, 65002)  # their decoders get the size
        assert codec is None or codec.check or codec.limited or fax_or_electrons, code


@pytest.mark.parametrize("code", [48124, 34712 + 1, 9, 32809])
def test_other_codecs_are_refused(tmp_path: Path, code: int) -> None:
    (tmp_path / "image").write_bytes(tiff(bytes(100), code))
    with pytest.raises(ImageError, match=r"is compressed with .*, which fit does not read|cannot be read as TIFF"):
        open_image(tmp_path / "image")


@pytest.mark.parametrize(
    ("size", "samples", "bits", "match"),
    [
        (None, 1, 8, "does not name its size"),
        ((49, 32), 1, 8, "claims 49 x 32 pixels"),
        ((32, 49), 1, 8, "claims 32 x 49 pixels"),
        ((32, 32), 2, 8, "claims 2 samples of 8 bits"),
        ((32, 32), 1, 9, "claims 1 samples of 9 bits"),
    ],
)
def test_declared_size(size: tuple[int, int] | None, samples: int, bits: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        CHUNK.check(size, samples, bits)


@pytest.mark.parametrize(("size", "samples"), [((32, 32), 1), ((48, 48), 1), ((8, 8), 1), ((32, 16), 2)])
def test_sizes_that_fit(size: tuple[int, int], samples: int) -> None:
    CHUNK.check(size, samples, 8)


def test_large_progressive_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("L", (32, 32)).save(file, "JPEG", progressive=True)
    check_jpeg(file.getvalue(), file.getvalue(), CHUNK)
    monkeypatch.setattr(compressions, "MAX_COEFFICIENT_BYTES", 2 * 32 * 32 - 1)
    with pytest.raises(ValueError, match="progressive and too large"):
        check_jpeg(file.getvalue(), file.getvalue(), CHUNK)


def test_scans_without_end() -> None:
    data = scans(2000, 32)
    with pytest.raises(ValueError, match=r"stored in 2,00\d scans"):
        check_jpeg(data, data, CHUNK)


@pytest.mark.parametrize("name", ["lerc", "png", "jpegxr"])
def test_usual_chunks_are_read(tmp_path: Path, name: str) -> None:
    code = {"lerc": 34887, "png": 34933, "jpegxr": 22610}[name]
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    (tmp_path / "image").write_bytes(tiff(getattr(imagecodecs, f"{name}_encode")(pixels), code))
    with open_image(tmp_path / "image") as reader:
        got = reader.read(Window(0, 0, 32, 32))[:, :, 0]
    assert np.abs(got.astype(int) - pixels).max() <= (0 if name != "jpegxr" else 40)
