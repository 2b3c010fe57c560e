"""Why a file cannot be written, by the number of the error; and that every kind of output says so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from support.feature_files import TABLE, info, polygons
from support.file_sizes import largest_file

from fitcli.annotations.features import FORMATS, open_features
from fitcli.errors import FitError
from fitcli.files.write_errors import reason_and_advice
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.streaming.token_store import DiskStore
from fitcli.tasks.encoding.features_file import ArraySpec, create_embeddings

TOO_LARGE = r"larger than a file may be here.*; raise the limit \(ulimit -f\), or write to another disk"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "the disk is full; free some space or write elsewhere"),
        (errno.EDQUOT, "the disk is full; free some space or write elsewhere"),
        (errno.EFBIG, "it is larger than a file may be here; raise the limit (ulimit -f), or write to another disk"),
        (errno.EMFILE, "Too many open files; raise the limit (ulimit -n)"),
        (errno.EACCES, "Permission denied; check the folder and its permissions"),
        (errno.EIO, "Input/output error; check the disk, or write elsewhere"),
    ],
)
def test_texts(code: int, text: str) -> None:
    assert "; ".join(reason_and_advice(OSError(code, os.strerror(code)))) == text


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.zarr", "a.png", "a.jpg"])
def test_an_image_that_becomes_too_large(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    description = ImageInfo(height=512, width=512, channels=3, dtype=np.dtype(np.uint8))
    with (
        largest_file(20_000),
        pytest.raises(FitError, match=TOO_LARGE),
        create_image(tmp_path / name, description) as image,
    ):
        image.write(Window(0, 0, 512, 512), pixels)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_polygons_that_become_too_large(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with (
        largest_file(30_000 if suffix == ".gpkg" else 1000),
        pytest.raises(FitError, match=TOO_LARGE),
        open_features(path, TABLE, info()) as file,
    ):
        file.write(polygons() * 400)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.safetensors", "a.zarr"])
def test_features_that_become_too_large(tmp_path: Path, name: str) -> None:
    specs = {"latents": ArraySpec((50, 20, 30), "float32")}
    with (
        largest_file(20_000),
        pytest.raises(FitError, match=TOO_LARGE),
        create_embeddings(tmp_path / name, specs, {}) as file,
    ):
        file.write("latents", slice(0, 50), np.random.default_rng(0).random((50, 20, 30), np.float32))
    assert not list(tmp_path.iterdir())


def test_tokens_at_rest_that_become_too_large(tmp_path: Path) -> None:
    with (
        DiskStore((9, 20, 30), torch.float32, torch.device("cpu"), tmp_path) as store,
        largest_file(10_000),
        pytest.raises(FitError, match=TOO_LARGE),
    ):
        store.put(slice(0, 9), torch.zeros(9, 20, 30))
