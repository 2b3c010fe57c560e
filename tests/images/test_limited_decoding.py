"""Pictures that are decoded in another process have the same pixels, and cannot exceed its limits."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, UnidentifiedImageError
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images import limited_decoding
from fitcli.images.limited_decoding import DecodingLimit, decode_file_limited, decode_limited, describe_file_limited
from fitcli.images.open import open_image
from fitcli.images.pillow_decoding import describe
from fitcli.images.raster import reader as raster_reader

NOISE = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)


@pytest.fixture(autouse=True)
def _no_process_stays() -> Any:
    yield
    limited_decoding.end_all()


def processes() -> list[int]:
    return [process.pid for process in limited_decoding._idle]


@pytest.mark.parametrize("codec", ["jpegxl", "jpegxr"])
def test_pixels_in_memory(codec: str) -> None:
    data = getattr(imagecodecs, f"{codec}_encode")(NOISE)
    expected = getattr(imagecodecs, f"{codec}_decode")(data)
    assert_equal(decode_limited(codec, data, NOISE.nbytes), expected)
    first = processes()
    assert_equal(decode_limited(codec, data, NOISE.nbytes), expected)
    assert processes() == first, "the process is used again"


def test_errors_leave_the_process_usable() -> None:
    with pytest.raises(ValueError, match="not a JPEG XL codestream"):
        decode_limited("jpegxl", b"nothing", 100)
    with pytest.raises(ValueError, match="more than declared"):
        decode_limited("jpegxl", imagecodecs.jpegxl_encode(NOISE), 100)
    assert len(processes()) == 1


@pytest.mark.walk(2)
@pytest.mark.parametrize("kind", ["BMP", "GIF", "TGA", "JPEG2000", "PNG"])
def test_files(tmp_path: Path, kind: str) -> None:
    Image.fromarray(NOISE).save(tmp_path / "image", kind)
    described = describe_file_limited(tmp_path / "image")
    assert described == describe(tmp_path / "image")
    pixels = np.empty((described.height, described.width, described.channels), described.dtype)
    decode_file_limited(tmp_path / "image", pixels, 10 * pixels.nbytes, 0)
    assert_equal(pixels, np.asarray(Image.open(tmp_path / "image").convert("RGB")))


def test_errors_of_pillow_keep_their_type(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"nothing")
    with pytest.raises(UnidentifiedImageError):
        describe_file_limited(tmp_path / "image")


@pytest.mark.parametrize("kind", ["BMP", "TGA", "QOI"])
def test_large_pictures_are_decoded_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(raster_reader, "SMALL_BYTES", 100)
    Image.fromarray(NOISE).save(tmp_path / "image", kind)
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), NOISE)
    assert len(processes()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_decoding, "MEMORY_BYTES", 1 << 20)
    data = imagecodecs.jpegxl_encode(np.zeros((5000, 5000), np.uint8), effort=1)
    with pytest.raises(ValueError):  # noqa: PT011 - the decoder words it
        decode_limited("jpegxl", data, 100)


def test_too_much_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_decoding, "SECONDS", 0)
    (tmp_path / "image").write_bytes(b"P2 4000 4000 255\n" + b"0 " * 16_000_000)
    pixels = np.empty((4000, 4000, 1), np.uint8)
    with pytest.raises(DecodingLimit, match="more memory or time"):
        decode_file_limited(tmp_path / "image", pixels, 10 * pixels.nbytes, 0)
    assert not processes()


def test_a_process_that_was_killed_is_replaced() -> None:
    data = imagecodecs.jpegxl_encode(NOISE)
    decode_limited("jpegxl", data, NOISE.nbytes)
    (process,) = limited_decoding._idle
    process.kill()
    process.wait()
    assert decode_limited("jpegxl", data, NOISE.nbytes).shape == NOISE.shape


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_has_processes_of_its_own() -> None:
    data = imagecodecs.jpegxl_encode(NOISE)
    decode_limited("jpegxl", data, NOISE.nbytes)
    child = os.fork()
    if not child:
        done = not processes() and decode_limited("jpegxl", data, NOISE.nbytes).shape == NOISE.shape
        limited_decoding.end_all()
        os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert decode_limited("jpegxl", data, NOISE.nbytes).shape == NOISE.shape


def test_code_in_the_working_folder_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json.py", "fitcli.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert decode_limited("jpegxl", imagecodecs.jpegxl_encode(NOISE), NOISE.nbytes).shape == NOISE.shape


def test_tiles_of_a_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image", NOISE, compression="jpegxl", tile=(32, 32), photometric="rgb")
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), tifffile.imread(tmp_path / "image"))
    data = (tmp_path / "image").read_bytes().replace(b"\xff\x0a", b"\xff\x0b")
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ImageError, match="cannot be decoded"), open_image(tmp_path / "image") as reader:
        read_all(reader)
