"""Features in a file are those of the model, whatever the format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.features import load_features
from support.pictures import save

from fitcli.device.runtime import choose_runtime
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.open import open_image
from fitcli.memory.handfuls import TOKENS
from fitcli.patches.cutting import groups_of, normalize, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.streaming import journal
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.encoding import group_encoder
from fitcli.tasks.encoding.embed_files import embed_image
from fitcli.tasks.encoding.encode import EncodingSettings
from models.build import build
from models.config import ClassifierConfig

CPU = choose_runtime("cpu", "fp32")

PIXELS = Preprocessing(channels=3, dtype="uint8", mean=(100.0, 120.0, 140.0), std=(50.0, 60.0, 70.0))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    config = ClassifierConfig(
        plan="(1)1(1)1", tokens=9, latents=2, token_width=12, latent_width=16, token_heads=2, latent_heads=4, patch=4,
        channels=3, classes=3, pool_heads=2,
    )  # fmt: skip
    model = build(config, seed=3).eval().requires_grad_(False)
    return Checkpoint(
        model, RunConfig(model=config, preprocessing=PIXELS, classes=("a", "b", "c"), details=ClassifyDetails())
    )


def picture(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
def test_features_are_whole_if_memory_ran_out_in_the_first_pass(
    checkpoint: Checkpoint, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens of the first pass are written over by those of the second, in other handfuls."""
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 45)
    image, files, handfuls = ArrayReader(picture((50, 41))), [], list[int]()
    real = group_encoder.stream_encoder

    def limited(*arguments: Any) -> torch.Tensor:
        handfuls.append(arguments[3].handful)
        latents = real(*arguments)
        if len(handfuls) == 2:
            raise MemoryError
        return latents

    monkeypatch.setattr(group_encoder, "stream_encoder", limited)
    for name in ("whole", "again"):
        embed_image(checkpoint, image, tmp_path / f"{name}{suffix}", CPU, EncodingSettings(), keep_patches=True)
        files.append(load_features(tmp_path / f"{name}{suffix}")[0])
    assert handfuls == [5, 5, 2]
    for name, expected in files[0].items():
        np.testing.assert_allclose(files[1][name], expected, atol=1e-5)


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
@pytest.mark.parametrize("size", [(48, 36), (50, 41), (5, 5)], ids=str)
def test_features_are_those_of_the_encoder(
    checkpoint: Checkpoint, size: tuple[int, int], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 30)
    out, image = tmp_path / f"out{suffix}", ArrayReader(picture(size), mpp=0.5)
    done = embed_image(checkpoint, image, out, CPU, EncodingSettings(), keep_patches=True)
    grid = PatchGrid(size, 4, 3)
    patches = normalize(to_patches(picture(size), grid), torch.tensor(PIXELS.mean), torch.tensor(PIXELS.std))
    groups = groups_of(grid)
    features = checkpoint.model.encoder(patches, groups)
    arrays, attributes = load_features(out)
    assert set(arrays) == {"latents", "coordinates", "windows", "patches"}
    assert arrays["latents"].dtype == arrays["patches"].dtype == np.float32
    np.testing.assert_allclose(arrays["latents"], features.latents, atol=1e-5)
    inside = np.ones((grid.count, 9), bool) if groups.mask is None else groups.mask.numpy()
    np.testing.assert_allclose(arrays["patches"][inside], features.tokens.numpy()[inside], atol=1e-5)
    np.testing.assert_array_equal(arrays["coordinates"], list(grid.coordinates()))
    expected = [(w.top, w.left, w.height, w.width) for w in (grid.window(*p).clip(*size) for p in grid.coordinates())]
    np.testing.assert_array_equal(arrays["windows"], expected)
    assert {name: str(attributes[name]) for name in ("image", "height", "width", "patch", "group", "mpp")} == {
        "image": "array", "height": str(size[0]), "width": str(size[1]), "patch": "4", "group": "3", "mpp": "0.5",
    }  # fmt: skip
    assert len(str(attributes["model"])) == 64
    assert (done.groups, done.latents, done.width) == (grid.count, 2, 16)
    assert list(tmp_path.iterdir()) == [out], "nothing else is left"


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
def test_an_image_that_breaks_half_way_leaves_what_was_there(
    checkpoint: Checkpoint, suffix: str, tmp_path: Path
) -> None:
    class Broken(ArrayReader):
        def read(self, *arguments: object) -> np.ndarray:
            raise ImageError(self.path, "chunk 7 is damaged")

    out = tmp_path / f"out{suffix}"
    embed_image(checkpoint, ArrayReader(picture((20, 20))), out, CPU, EncodingSettings())
    before, _ = load_features(out)
    with pytest.raises(ImageError, match="chunk 7"):
        embed_image(checkpoint, Broken(picture((90, 90))), out, CPU, EncodingSettings(), keep_patches=True)
    assert list(tmp_path.iterdir()) == [out]
    np.testing.assert_array_equal(load_features(out)[0]["latents"], before["latents"])


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
def test_a_saved_position_promises_patches_that_survive_a_power_cut(
    checkpoint: Checkpoint, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOKENS, ("pass", "cpu"), 18)
    monkeypatch.setattr(journal, "SAVE_SECONDS", 0.0)
    out, synced, positions = tmp_path / f"out{suffix}", set[int](), []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def move(source: Path, target: Path) -> None:
        if Path(target).name == "position.pt":
            (folder,) = tmp_path.glob(".fit-*")
            written = [folder / "new", *(folder / "new").rglob("*")]
            assert {path.stat().st_ino for path in (*written, folder, tmp_path)} <= synced
            positions.append(len(written))
        synced.clear()
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", move)
    settings = EncodingSettings(state=tmp_path / "state")
    with open_image(save(tmp_path / "image.png", picture((48, 36)))) as image:
        embed_image(checkpoint, image, out, CPU, settings, keep_patches=True)
    assert len(positions) > 3
