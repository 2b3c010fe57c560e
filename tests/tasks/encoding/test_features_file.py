"""Files of features hold what was written, whatever the format, and replace nothing else."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.features import load_features

from fitcli.errors import FitError
from fitcli.files.staging import token_path
from fitcli.tasks.encoding import features_file
from fitcli.tasks.encoding.features_file import ArraySpec, can_continue, create_embeddings

SPECS = {"latents": ArraySpec((5, 2, 3), "float32"), "coordinates": ArraySpec((5, 2), "int64")}


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
def test_arrays_come_in_any_order_and_more_than_once(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    values = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    places = np.arange(10).reshape(5, 2)
    with create_embeddings(out, SPECS, {"image": "a", "mpp": None}) as file:
        file.write("coordinates", slice(0, 5), places)
        for part in (slice(3, 5), slice(0, 1), slice(1, 3), slice(2, 4)):
            file.write("latents", part, values[part])
        with pytest.raises(ValueError, match="latents of groups 0 to 1 is"):
            file.write("latents", slice(0, 1), values)
    arrays, attributes = load_features(out)
    np.testing.assert_array_equal(arrays["latents"], values)
    np.testing.assert_array_equal(arrays["coordinates"], places)
    assert attributes["image"] == "a"


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
def test_what_a_crash_left_is_continued_or_discarded(suffix: str, tmp_path: Path) -> None:
    out, ones = tmp_path / f"out{suffix}", np.ones((5, 2, 3), np.float32)
    for continues in (True, False):
        with contextlib.suppress(InterruptedError), create_embeddings(out, SPECS, {}, "0000000a") as file:
            file.write("latents", slice(0, 2), ones[:2])
            raise InterruptedError
        with create_embeddings(out, SPECS, {}, "0000000a", continues) as file:
            file.write("latents", slice(2, 5), ones[2:])
        assert load_features(out)[0]["latents"].sum() == (30 if continues else 18)


@pytest.mark.parametrize("suffix", [".zarr", ".safetensors"])
def test_what_an_older_version_left_is_continued(suffix: str, tmp_path: Path) -> None:
    out, ones = tmp_path / f"out{suffix}", np.ones((5, 2, 3), np.float32)
    with contextlib.suppress(InterruptedError), create_embeddings(out, SPECS, {}, "0000000a") as file:
        file.write("latents", slice(0, 2), ones[:2])
        raise InterruptedError
    assert not can_continue(out, "0000000b")
    token_path(out, "0000000a").rename(tmp_path / f".out{suffix}.partial-0000000b")
    assert can_continue(out, "0000000b")
    with contextlib.suppress(InterruptedError), create_embeddings(out, SPECS, {}, "0000000b", continues=True) as file:
        file.write("latents", slice(2, 4), ones[2:4])
        raise InterruptedError
    old = tmp_path / f".out{suffix}.partial-0000000b"
    old.mkdir() if suffix == ".zarr" else old.touch()
    with create_embeddings(out, SPECS, {}, "0000000b", continues=True) as file:
        file.write("latents", slice(4, 5), ones[4:])
    assert old.exists(), "what is older is not taken any more"
    old.rmdir() if suffix == ".zarr" else old.unlink()
    assert load_features(out)[0]["latents"].sum() == 30
    shutil.rmtree(token_path(out, "0000000a").parent)
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object, offset: int) -> None:
        if offset:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(features_file, "write_all", full)
    out = tmp_path / "out.safetensors"
    with (
        pytest.raises(FitError, match=r"out.safetensors: cannot be written: the disk is full \(0.0 MB are needed"),
        create_embeddings(out, SPECS, {}) as file,
    ):
        file.write("latents", slice(0, 5), np.ones((5, 2, 3), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_other_things_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "letter.txt").write_text("dear")
    (tmp_path / "mine.safetensors").mkdir()
    for name, why in (("mine.zarr", "is no zarr group"), ("mine.safetensors", "is a folder"), ("a.npz", "written as")):
        with pytest.raises(FitError, match=why):
            create_embeddings(tmp_path / name, SPECS, {})
    with pytest.raises(FitError, match="cannot be written"):
        create_embeddings(tmp_path / "missing" / "a.safetensors", SPECS, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.safetensors", "mine.zarr"]
